/* A hostile proc: raw system calls, no libc. argv[1] names the row of
 * PROBES.md that it tries; each line on descriptor 1 is one attempt:
 *
 *	{"row":"S1","try":"socket inet stream","r":-1}
 *
 * r is what came back, -errno for errors. The last line of a row that was tried
 * to its end is {"row":"S1","try":"end","r":ATTEMPTS}.
 */
#include "probe.h"

const char *row;
char **args;
int nargs;
u64 entry[16];
char entry_status[4096];

static const struct probe *find(const struct probe *p, const char *name) {
	for (; p->row; p++)
		if (same(p->row, name)) return p;
	return 0;
}

long said;

__attribute__((used)) void begin(long *sp, u64 *regs) {
	/* The very first thing: is every layer on? */
	slurp("/proc/self/status", entry_status, sizeof entry_status - 1);
	for (int i = 0; i < 16; i++) entry[i] = regs[i];
	char **argv = (char **)(sp + 1);
	row = sp[0] > 1 ? argv[1] : "?";
	nargs = sp[0] > 2 ? (int)sp[0] - 2 : 0;
	args = argv + 2;
	const struct probe *all[] = {calls, args_rows, files, bombs, frames_rows}, *p = 0;
	for (int i = 0; i < 5 && !p; i++) p = find(all[i], row);
	if (!p) {
		say("no such row", 0);
		leave(2);
	}
	p->run();
	say("end", said);
	leave(0);
}

/* _start keeps every general register before anything uses one. */
#if defined(__x86_64__)
__asm__(
	".globl _start\n_start:\n"
	" mov %rsp, -8(%rsp)\n"
	" lea -8(%rsp), %rsp\n"
	" push %r15\n push %r14\n push %r13\n push %r12\n push %r11\n push %r10\n push %r9\n push %r8\n"
	" push %rbp\n push %rdi\n push %rsi\n push %rdx\n push %rcx\n push %rbx\n push %rax\n push $0\n"
	" mov %rsp, %rsi\n"
	" mov 128(%rsp), %rdi\n"
	" and $-16, %rsp\n"
	" call begin\n hlt\n");
#else
__asm__(
	".globl _start\n_start:\n"
	" mov x20, sp\n"
	" sub sp, sp, #128\n"
	" stp x0, x1, [sp]\n stp x2, x3, [sp, #16]\n stp x4, x5, [sp, #32]\n stp x6, x7, [sp, #48]\n"
	" stp x8, x9, [sp, #64]\n stp x10, x11, [sp, #80]\n stp x12, x13, [sp, #96]\n stp x14, x15, [sp, #112]\n"
	" mov x1, sp\n mov x0, x20\n bl begin\n brk #0\n");
#endif
