/* S37 and S38: every number, and the arguments on which the list depends. */
#include "probe.h"

static long where, zero[2];

/* What would end or block us; the kernel answers the last two on amd64 with
 * SIGILL, past every filter. */
static int skipped(long nr) {
	switch (nr) {
	case SYS_exit: case SYS_exit_group: case SYS_rt_sigreturn: return 1;
#if defined(__x86_64__)
	case 335: case 336: return 1;
#endif
	}
	return 0;
}

/* sensible fills in arguments that the list allows for calls with conditions,
 * and harmless ones where zeros would harm us. */
static void sensible(long nr, long a[6]) {
	switch (nr) {
	case SYS_close: a[0] = 77; break;
	case SYS_fcntl: a[0] = 1, a[1] = 1; break;
	case SYS_ioctl: a[0] = 1, a[1] = 0x541b, a[2] = (long)&where; break;
	case SYS_prctl: a[0] = 15, a[1] = (long)"probe"; break;
	case SYS_setsockopt: a[1] = 1, a[2] = 9; break;
	case SYS_ppoll: a[2] = (long)zero; break;
	case SYS_prlimit64: a[1] = 7; break;
#if defined(__x86_64__)
	case SYS_arch_prctl: a[0] = 0x1003, a[1] = (long)&where; break;
#endif
	}
}

static void try(long nr, const long a[6]) {
	long r = sys6(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (r != -1 && r != -38) sayargs(nr, a, r);
}

/* Every number with zeros, with -1, and with arguments that the list allows.
 * What answers EPERM or ENOSYS each time is not printed. */
static void s37(void) {
	for (long nr = 0; nr < 1024; nr++) {
		if (skipped(nr)) continue;
		long z[6] = {0}, m[6] = {-1, -1, -1, -1, -1, -1}, v[6] = {0};
		if (nr == SYS_clone) continue; /* needs a stack and a body: shown below */
		if (nr != SYS_close && nr != SYS_ppoll) try(nr, z); /* not our own descriptor 0, not for ever */
		try(nr, m);
		sensible(nr, v);
		try(nr, v);
	}
	long a[6] = {0x50f00};
	sayargs(SYS_clone, a, thread(pause_for_ever));
}

/* Beyond all headers: 31 bits without x32's, then with bits above the number. */
static void s38(void) {
	static const long far[] = {1024, 1025, 2047, 4095, 4096, 65535, 65536, 1 << 20, 0x1fffffff, 0x20000000, 0x3fffffff};
	for (u32 i = 0; i < sizeof far / sizeof far[0]; i++) saynum("number", far[i], sys(far[i]));
	for (long nr = 463; nr < 1024; nr++) {
		long r = sys(nr);
		if (r != -1 && r != -38) saynum("number", nr, r);
	}
}

/* Both sides of every condition: each attempt is printed with its arguments,
 * and the test asks the table what should have come. */
static void cond(long nr, long a, long b, long c, long d, long e) {
	long v[6] = {a, b, c, d, e, 0};
	sayargs(nr, v, sys6(nr, a, b, c, d, e, 0));
}

static void conditions(void) {
	static u8 page[8192] __attribute__((aligned(4096)));
	const char *what = nargs > 0 ? args[0] : "";
	const long high = 1L << 32;
	if (same(what, "fcntl")) {
		for (long cmd = 0; cmd < 50; cmd++) cond(SYS_fcntl, 3, cmd, cmd == 4 ? O_RDWR : 0, 0, 0);
		for (long cmd = 1024; cmd < 1045; cmd++) cond(SYS_fcntl, 3, cmd, 0, 0, 0);
	} else if (same(what, "ioctl")) {
		for (long req = 0x5400; req < 0x5480; req++)
			if (req != 0x5421) cond(SYS_ioctl, 2, req, (long)page, 0, 0);
		cond(SYS_ioctl, 3, 0x5421, (long)zero, 0, 0);
		cond(SYS_ioctl, 3, 0x5421 | high, (long)zero, 0, 0); /* the kernel looks at 32 bits */
		cond(SYS_ioctl, 3, 0x8901, (long)page, 0, 0);
		cond(SYS_ioctl, 3, 0x5421 | 1 << 31, (long)page, 0, 0);
	} else if (same(what, "prctl")) {
		for (long op = 0; op < 90; op++) cond(SYS_prctl, op, op == 15 ? (long)"probe" : (long)page, 0, 0, 0);
		cond(SYS_prctl, 0x53564d41, 0, (long)page, 4096, 0);
		cond(SYS_prctl, 0x59616d61, -1, 0, 0, 0);
	} else if (same(what, "madvise")) {
		for (long adv = 0; adv < 40; adv++) cond(SYS_madvise, (long)page, 4096, adv, 0, 0);
		for (long adv = 100; adv < 104; adv++) cond(SYS_madvise, (long)page, 4096, adv, 0, 0);
	} else if (same(what, "mmap")) {
		for (long prot = 0; prot < 16; prot++) {
			long m[6] = {0, 4096, prot, 0x22, -1, 0};
			sayargs(SYS_mmap, m, sys6(SYS_mmap, 0, 4096, prot, 0x22, -1, 0));
			if (prot < 8) cond(SYS_mprotect, (long)page, 4096, prot, 0, 0);
		}
		cond(SYS_mprotect, (long)page, 4096, 3, 0, 0);
	} else if (same(what, "setsockopt")) {
		static const long levels[] = {0, 1, 6, 17, 41, 255, 263, 270, 273, 282, 286};
		for (u32 i = 0; i < sizeof levels / sizeof levels[0]; i++)
			for (long opt = 0; opt < 90; opt++) cond(SYS_setsockopt, 3, levels[i], opt, (long)page, 4);
	} else if (same(what, "clone")) {
		/* Every single bit off or on from each thread's set; what passes needs
		 * a stack, which 1 is not: the kernel makes a thread that dies by itself
		 * and us with it, so sets that pass are left to S37. */
		static const long sets[] = {0x50f00, 0xd0f00, 0x3d0f00, 0x7d0f00};
		for (u32 i = 0; i < 4; i++)
			for (int bit = 0; bit < 40; bit++) {
				long f = sets[i] ^ 1L << bit, known = 0;
				for (u32 k = 0; k < 4; k++) known |= (u32)f == (u64)sets[k];
				if (!known) cond(SYS_clone, f, 0, (long)&where, (long)&where, 0);
			}
#if defined(__x86_64__)
	} else if (same(what, "arch_prctl")) {
		for (long code = 0x1000; code < 0x1030; code++)
			if (code != 0x1002) cond(SYS_arch_prctl, code, (long)&where, 0, 0, 0);
#endif
	} else if (same(what, "others")) {
		cond(SYS_sendto, 3, (long)"", 0, 0, 0);
		cond(SYS_sendto, 3, (long)"", 0, 0, (long)page);
		cond(SYS_sendto, 3, (long)"", 0, 0, high);
		for (long pid = 0; pid < 4; pid++) cond(SYS_prlimit64, pid, 7, 0, (long)page, 0);
		cond(SYS_kill, 1, 9, 0, 0, 0);
		cond(SYS_wait4, -1, 0, 1, 0, 0);
		cond(SYS_execveat, 4096, (long)"", 0, 0, 0x1000);
	} else {
		say("no such call", 0);
		leave(2);
	}
}

const struct probe args_rows[] = {{"S37", s37}, {"S38", s38}, {"conditions", conditions}, {0, 0}};
