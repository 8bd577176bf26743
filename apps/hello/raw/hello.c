/* The smallest proc: no libc, no start-up, two calls. It is what sigmactl bench
 * measures, because next to nothing of its time is its own.
 *
 *	cc -Os -static -nostdlib -ffreestanding -fno-stack-protector -o hello-raw hello.c
 *
 * With -q it says Exited only, with the moment at which it began, as ns of
 * CLOCK_MONOTONIC, as data; without, it says Started and greets too.
 */
#if defined(__x86_64__)
enum { nr_write = 1, nr_exit_group = 231, nr_clock_gettime = 228 };
static long call(long n, long a, long b, long c) {
	long r;
	__asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return r;
}
__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call begin\n hlt\n");
#elif defined(__aarch64__)
enum { nr_write = 64, nr_exit_group = 94, nr_clock_gettime = 113 };
static long call(long n, long a, long b, long c) {
	register long x8 __asm__("x8") = n;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
	return x0;
}
__asm__(".globl _start\n_start: mov x0, sp\n bl begin\n brk #0\n");
#endif

static const char started[12] = {0, 0, 0, 0, 1, 1};
static const char greeting[] = "hello from nothing at all\n";

__attribute__((used)) void begin(long *sp) {
	long t[2] = {0, 0};
	call(nr_clock_gettime, 1, (long)t, 0);
	char **argv = (char **)(sp + 1);
	if (sp[0] < 2 || argv[1][0] != '-' || argv[1][1] != 'q') {
		call(nr_write, 3, (long)started, sizeof started);
		call(nr_write, 1, (long)greeting, sizeof greeting - 1);
	}
	unsigned long v = (unsigned long)t[0] * 1000000000UL + (unsigned long)t[1];
	unsigned char b[16 + 20], d[20];
	for (unsigned i = 0; i < sizeof b; i++) b[i] = 0;
	int n = 0;
	do d[n++] = (unsigned char)('0' + v % 10);
	while ((v /= 10) != 0);
	b[0] = (unsigned char)(4 + n); /* payload: one field */
	b[4] = 1;                      /* version */
	b[5] = 2;                      /* Exited */
	b[12] = 3;                     /* field 3, data, n bytes */
	b[13] = (unsigned char)n;
	for (int i = 0; i < n; i++) b[16 + i] = d[n - 1 - i];
	call(nr_write, 3, (long)b, 16 + n);
	for (;;) call(nr_exit_group, 0, 0, 0);
}
