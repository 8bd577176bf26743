/* A hostile proc: raw system calls, no libc. argv[1] names the probe; each line
 * on descriptor 1 is "NR RESULT" (RESULT is -errno or what came back).
 *
 *	sweep  every number from 0 to 1023, with arguments that pass the filter's
 *	       conditions and harm nobody; those that would end or block us are
 *	       left out: exit, exit_group, rt_sigreturn, clone; and 335 and 336,
 *	       which Linux lets past every filter and answers with SIGILL
 *	args   calls whose arguments must be refused
 *	fds    every open descriptor from 0 to 5000: "FD flags"
 *	x32    the x32 write
 *	i386   getpid through int 0x80
 *	threads  makes threads until the kernel refuses: "56 COUNT", then "56 -errno"
 *
 * cc -O2 -static -nostdlib -ffreestanding -fno-stack-protector -o probe probe.c
 */
#if defined(__x86_64__)
static long call(long n, long a, long b, long c, long d, long e, long f) {
	long r;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	__asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
	return r;
}
__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call begin\n hlt\n");
enum {
	nr_write = 1, nr_mmap = 9, nr_mprotect = 10, nr_rt_sigreturn = 15, nr_ioctl = 16, nr_madvise = 28, nr_sendto = 44, nr_setsockopt = 54,
	nr_clone = 56, nr_exit = 60, nr_wait4 = 61, nr_kill = 62, nr_fcntl = 72, nr_prctl = 157, nr_arch_prctl = 158,
	nr_exit_group = 231, nr_execveat = 322, nr_execve = 59,
};

static long zero6(long n) { return call(n, 0, 0, 0, 0, 0, 0); }

static void put(char *b, int *n, long v) {
	char d[24];
	int k = 0;
	if (v < 0) { b[(*n)++] = '-'; v = -v; }
	do d[k++] = (char)('0' + v % 10); while ((v /= 10) != 0);
	while (k) b[(*n)++] = d[--k];
}

static void say(long nr, long r) {
	char b[64];
	int n = 0;
	put(b, &n, nr);
	b[n++] = ' ';
	put(b, &n, r);
	b[n++] = '\n';
	call(nr_write, 1, (long)b, n, 0, 0, 0);
}

static long where;

static void sweep(void) {
	for (long nr = 0; nr < 1024; nr++) {
		long r, ts[2] = {0, 0};
		switch (nr) {
		case nr_exit: case nr_exit_group: case nr_rt_sigreturn: case nr_clone: case 335: case 336: continue;
		case nr_fcntl: r = call(nr, 1, 1, 0, 0, 0, 0); break;
		case nr_ioctl: r = call(nr, 1, 0x541b, 0, 0, 0, 0); break;
		case nr_prctl: r = call(nr, 15, (long)"probe", 0, 0, 0, 0); break;
		case nr_arch_prctl: r = call(nr, 0x1003, (long)&where, 0, 0, 0, 0); break;
		case nr_setsockopt: r = call(nr, 0, 1, 9, 0, 0, 0); break;
		case 271: r = call(nr, 0, 0, (long)ts, 0, 0, 0); break; /* ppoll, no time */
		case 3: r = call(nr, 77, 0, 0, 0, 0, 0); break;         /* close, not ours */
		default: r = zero6(nr);
		}
		if (r != -1 && r != -38) say(nr, r);
	}
}

static void args(void) {
	static const long forks[] = {17, 0x4000 | 0x100 | 17, 0x1200011, 0x100 | 0x1000 | 0x800000 | 17, 0x10000000 | 17, 0x20000000 | 17, 0x02000000 | 17, 0x00020000 | 17, 0x08000000 | 17};
	for (unsigned i = 0; i < sizeof forks / sizeof forks[0]; i++) {
		long r = call(nr_clone, forks[i], 0, (long)&where, 0, 0, 0);
		if (r == 0) for (;;) call(nr_exit_group, 99, 0, 0, 0, 0, 0);
		say(nr_clone, r);
	}
	say(nr_kill, call(nr_kill, 1, 9, 0, 0, 0, 0));
	say(nr_wait4, zero6(nr_wait4));
	say(nr_execve, call(nr_execve, (long)"/mnt/binfs/x", 0, 0, 0, 0, 0));
	say(nr_execveat, call(nr_execveat, 4096, (long)"", 0, 0, 0x1000, 0));
	say(nr_fcntl, call(nr_fcntl, 1, 1030, 4096, 0, 0, 0) == -22 ? -1 : 0); /* no way to number 4096 */
	say(nr_mmap, call(nr_mmap, 0, 4096, 7, 0x22, -1, 0));
	say(nr_mprotect, call(nr_mprotect, (long)&where & ~4095L, 4096, 7, 0, 0, 0));
	say(nr_madvise, call(nr_madvise, (long)&where & ~4095L, 4096, 12, 0, 0, 0));
	say(nr_sendto, call(nr_sendto, 3, (long)"x", 1, 0, (long)&where, 16));
	say(nr_ioctl, call(nr_ioctl, 3, 0x8901, (long)&where, 0, 0, 0));
	static const long opts[][2] = {{1, 12}, {1, 36}, {0, 1}, {41, 67}, {1, 26}, {6, 31}};
	for (unsigned i = 0; i < sizeof opts / sizeof opts[0]; i++)
		say(nr_setsockopt, call(nr_setsockopt, 3, opts[i][0], opts[i][1], (long)&where, 4, 0));
	say(nr_prctl, call(nr_prctl, 4, 1, 0, 0, 0, 0));
	say(nr_arch_prctl, call(nr_arch_prctl, 0x1001, 0, 0, 0, 0, 0));
}

static long futexword;
static char stacks[512][4096];

static long spawn_thread(int i) {
	/* Go's exact flags; the thread waits for ever. */
	long r;
	register long r10 __asm__("r10") = 0;
	register long r8 __asm__("r8") = 0;
	__asm__ volatile(
		"syscall\n test %%rax, %%rax\n jnz 1f\n"
		"2: mov $202, %%eax\n lea %1, %%rdi\n xor %%esi, %%esi\n xor %%edx, %%edx\n xor %%r10d, %%r10d\n syscall\n jmp 2b\n"
		"1:\n"
		: "=a"(r) : "m"(futexword), "a"((long)nr_clone), "D"(0x50f00L), "S"((long)(stacks[i] + 4096)), "d"(0L), "r"(r10), "r"(r8)
		: "rcx", "r11", "memory");
	return r;
}

__attribute__((used)) void begin(long *sp) {
	char *what = sp[0] > 1 ? ((char **)(sp + 1))[1] : (char *)"sweep";
	switch (what[0]) {
	case 's': sweep(); break;
	case 'a': args(); break;
	case 'f':
		for (long fd = 0; fd < 5000; fd++) {
			long r = call(nr_fcntl, fd, 3, 0, 0, 0, 0);
			if (r >= 0) say(fd, r);
		}
		break;
	case 'x': say(0, call(0x40000000 | nr_write, 1, (long)"x", 1, 0, 0, 0)); break;
	case 'i': {
		long r;
		__asm__ volatile("int $0x80" : "=a"(r) : "a"(20L) : "memory");
		say(0, r);
		break;
	}
	case 't': {
		long r = 0;
		int n = 0;
		while (n < 512 && (r = spawn_thread(n)) > 0) n++;
		say(nr_clone, n);
		say(nr_clone, r);
		break;
	}
	}
	for (;;) call(nr_exit_group, 0, 0, 0, 0, 0, 0);
}
#else
__asm__(".globl _start\n_start: mov x0, #0\n mov x8, #94\n svc #0\n");
#endif
