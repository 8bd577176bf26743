/* Rows R, and those in which a proc misbehaves while it runs: P15, P16, P18,
 * N13, N16. */
#include "probe.h"

static void forever(void) { pause_for_ever(); }

void started(void) { sys(SYS_write, 3, "\0\0\0\0\1\1\0\0\0\0\0\0", 12); }

/* Threads until the kernel refuses. */
static void r1(void) {
	long r = 0, n = 0;
	while (n < 250 && (r = thread(forever)) > 0) n++;
	say("threads", n);
	say("then", r);
}

static char *map(u64 bytes, int flags) { return (char *)sys(SYS_mmap, 0, bytes, 3, 0x22 | flags, -1, 0); }

static int failed(const void *p) { return (u64)p > ~0UL - 4096; }

static long deep(long n) {
	volatile char block[4096];
	block[0] = (char)n;
	return n > 0 ? deep(n - 1) + block[0] : 0;
}

/* Memory of each kind, more than any limit that the test gives: a line means
 * that it was refused or had, silence that the kernel ended us. */
static void r2(void) {
	const char *what = nargs ? args[0] : "";
	const u64 much = 1UL << 30;
	if (same(what, "anon")) {
		char *p = map(much, 0);
		for (u64 i = 0; i < much; i += 4096) p[i] = 1;
	} else if (same(what, "huge")) {
		char *p = map(much, 0);
		sys(SYS_madvise, p, much, 14);
		for (u64 i = 0; i < much; i += 4096) p[i] = 1;
	} else if (same(what, "hugetlb")) {
		char *p = map(64 << 20, 0x40000);
		if (failed(p)) {
			say("refused", (long)p);
			return;
		}
		for (u64 i = 0; i < 64 << 20; i += 4096) p[i] = 1;
	} else if (same(what, "tables")) { /* one page in 2 MiB: half of it are tables */
		char *p = map(1UL << 40, 0x4000);
		for (u64 i = 0; i < 1UL << 40; i += 2 << 20) (void)*(volatile char *)(p + i);
	} else if (same(what, "stack")) {
		struct { u64 cur, max; } l = {~0UL, ~0UL};
		say("limit", sys(SYS_prlimit64, 0, 3, &l, 0));
		deep(much / 4096);
	} else if (same(what, "pipes")) { /* memory of the kernel's, on our account */
		static char block[65536];
		for (int i = 0; i < 2000; i++) {
			int p[2];
			long r = sys(SYS_pipe2, p, O_NONBLOCK);
			if (r < 0) {
				say("pipes", i);
				say("then", r);
				return;
			}
			sys(SYS_write, p[1], block, sizeof block);
		}
	} else if (same(what, "names")) { /* what is not there is remembered, too */
		char path[64] = "/mnt/binfs/";
		for (u64 i = 0; i < 20000; i++) {
			u64 v = i * 2654435761u;
			for (int k = 0; k < 24; k++) path[11 + k] = (char)('a' + (v >> (k % 8 * 4) & 15)), v ^= i << k;
			openr(path);
		}
		say("names", 0);
		return;
	} else if (same(what, "mlock")) {
		char *p = map(1 << 20, 0x2000); /* MAP_LOCKED */
		say("locked", failed(p) ? (long)p : 0);
		return;
	}
	say("it had all that", 0);
}

static void r4(void) {
	long fd = 0, n = 0;
	while ((fd = sys(SYS_dup3, 1, 10 + n, 0)) >= 0 && n < 10000) n++;
	say("highest", n + 9);
	say("then", fd);
	for (n = 0; (fd = openr("/dev/null")) >= 0 && n < 10000; n++) continue;
	say("opened", fd);
	say("pipe", sys(SYS_pipe2, args, 0));
	say("epoll", sys(SYS_epoll_create1, 0));
}

static void storm(void) {
	for (;;) {
		long p = sys(SYS_mmap, 0, 1 << 20, 3, 0x8022, -1, 0);
		sys(SYS_munmap, p, 1 << 20);
	}
}
static void spin(void) {
	for (;;) __asm__ volatile("" ::: "memory");
}
#if defined(__x86_64__)
static void tick(int sig) { (void)sig; }
extern void restore(void);
#endif

/* Timers, membarriers and the interrupts of munmap, until somebody ends us. */
static void r10(void) {
#if defined(__x86_64__)
	struct { void (*fn)(int); u64 flags; void (*restorer)(void); u64 mask; } a = {tick, 0x4000000, restore, 0};
	sys(SYS_rt_sigaction, 14, &a, 0, 8);
#endif
	struct { long is, ius, vs, vus; } every = {0, 1, 0, 1};
	thread(storm);
	thread(storm);
	started();
	sys(SYS_setitimer, 0, &every, 0); /* from here on this thread does little else */
	for (;;) sys(SYS_membarrier, 1, 0, 0);
}

/* A hundred threads that spin. */
static void r7(void) {
	for (int i = 0; i < 99; i++) thread(spin);
	started();
	spin();
}

/* Ignores what can be ignored, and blocks the rest. */
static void p15(void) {
	struct { long fn; u64 flags, restorer, mask; } ignore = {1, 0, 0, 0};
	u64 all = ~0UL;
	for (int sig = 1; sig < 65; sig++) sys(SYS_rt_sigaction, sig, &ignore, 0, 8);
	sys(SYS_rt_sigprocmask, 0, &all, 0, 8);
	long r = sys(SYS_clone, 17, 0, 0, 0, 0);
	if (r == 0) leave(99);
	say("fork", r);
	say("setsid", sys(SYS_setsid));
	say("signal to pid 1", sys(SYS_tgkill, 1, 1, 9));
	say("stop of pid 1", sys(SYS_tgkill, 1, 1, 19));
	for (int i = 0; i < 20; i++) thread(forever);
	started();
	pause_for_ever();
}

static void p16(void) {
	started();
	sys(SYS_tgkill, sys(SYS_getpid), sys(SYS_gettid), 19); /* SIGSTOP */
	say("went on", 0);
}

/* Leaves everything in disorder for whoever comes next. */
static void p18stain(void) {
	struct { u64 cur, max; } l = {1 << 20, 1 << 20};
	struct { long is, ius, vs, vus; } soon = {0, 100000, 0, 100000};
	struct { long fn; u64 flags, restorer, mask; } ignore = {1, 0, 0, 0};
	u64 all = ~0UL;
	char *p = map(16 << 20, 0);
	for (u64 i = 0; i < 16 << 20; i++) p[i] = "secret! "[i & 7];
	for (int fd = 0; fd < 4; fd++) sys(SYS_fcntl, fd, 4, O_NONBLOCK | 02000 | 020000 | 040000); /* append, async, direct */
	for (int r = 0; r < 16; r++) sys(SYS_prlimit64, 0, r, &l, 0);
	for (int r = 0; r < 16; r++) saynum("limit of pid 1", r, sys(SYS_prlimit64, 1, r, &l, 0));
	sys(SYS_prctl, 15, "stained", 0, 0, 0);
	sys(SYS_setitimer, 0, &soon, 0);
	for (int sig = 1; sig < 65; sig++) sys(SYS_rt_sigaction, sig, &ignore, 0, 8);
	sys(SYS_rt_sigprocmask, 0, &all, 0, 8);
	for (int i = 0; i < 10; i++) thread(forever);
	say("pid", sys(SYS_getpid));
	sys(SYS_write, 2, "no newline", 10);
}

/* Comes next, and looks. */
static void p18look(void) {
	static char text[6000];
	struct { u64 cur, max; } l;
	struct { long sec, nsec; } nap = {0, 250000000};
	tell("status", 0, entry_status, (long)len(entry_status));
	for (int fd = 0; fd < 4; fd++) saynum("flags", fd, sys(SYS_fcntl, fd, 3, 0));
	for (int r = 0; r < 16; r++) {
		sys(SYS_prlimit64, 0, r, 0, &l);
		saynum("soft", r, (long)l.cur);
		saynum("hard", r, (long)l.max);
	}
	long dirty = 0;
	for (int round = 0; round < 4; round++) {
		char *p = map(16 << 20, 0);
		for (u64 i = 0; i < 16 << 20; i++) dirty += p[i] != 0;
	}
	say("bytes that are not zero", dirty);
	for (int i = 1; i < 16; i++) saynum("register", i, (long)entry[i]);
	tell("limits", 0, text, slurp("/proc/self/limits", text, sizeof text));
	say("nap", sys(SYS_nanosleep, &nap, 0)); /* no timer of the other's ends us */
	say("pid", sys(SYS_getpid));
}

/* The control channel, badly used; args[0] says how. */
static void n13(void) {
	const char *what = nargs ? args[0] : "";
	started();
	if (same(what, "half")) { /* half a header, then nothing */
		sys(SYS_write, 3, "\7\0\0\0\1", 5);
	} else if (same(what, "slow")) { /* a byte now and then of a frame that never ends */
		struct { long sec, nsec; } nap = {0, 50000000};
		sys(SYS_write, 3, "\0\0\4\0\1\4\0\0\1\0\0\0", 12);
		for (;;) {
			sys(SYS_write, 3, "x", 1);
			sys(SYS_nanosleep, &nap, 0);
		}
	} else if (same(what, "deaf")) { /* asks for ever and never reads */
		sys(SYS_fcntl, 3, 4, O_NONBLOCK);
		for (u32 id = 1;; id++) {
			u8 f[12] = {0, 0, 0, 0, 1, 5, 0, 0};
			memcpy(f + 8, &id, 4);
			long r = sys(SYS_write, 3, f, 12);
			if (r < 0 && r != -11) {
				say("cut off", r);
				break;
			}
		}
	} else if (same(what, "pending")) { /* waits for its own end, over and over */
		for (u32 id = 1; id <= 40000; id++) {
			u8 f[12] = {0, 0, 0, 0, 1, 3, 0, 0};
			memcpy(f + 8, &id, 4);
			if (sys(SYS_sendto, 3, f, 12, 0x40, 0, 0) < 0) { /* MSG_DONTWAIT */
				static char sink[65536];
				while (sys(SYS_recvfrom, 3, sink, sizeof sink, 0x40, 0, 0) > 0) continue;
			}
		}
	} else if (same(what, "garbage")) {
		sys(SYS_write, 3, "GET / HTTP/1.1\r\n\r\n", 18);
		static char b[64];
		say("read", sys(SYS_read, 3, b, 64));
		say("write", sys(SYS_sendto, 3, "x", 1, 0x4000, 0, 0)); /* MSG_NOSIGNAL */
	}
	say("done", 0);
	pause_for_ever();
}

/* The main thread leaves; another keeps the channel. */
static void n16(void) {
	thread(forever);
	ask(2, "\1\10\0\0\0\0\0\0\0\0\0\0", 12); /* Exited 0 */
	started();
	for (;;) sys(SYS_exit, 0);
}

/* Ends in the way of args[0] after args[1] µs; args[2] "started" says that
 * before. */
static void f1(void) {
	const char *how = nargs > 0 ? args[0] : "";
	long us = nargs > 1 ? number(args[1]) : 0;
	struct { long sec, nsec; } nap = {us / 1000000, us % 1000000 * 1000};
	if (nargs > 2) started();
	sys(SYS_nanosleep, &nap, 0);
	if (same(how, "kill")) sys(SYS_tgkill, sys(SYS_getpid), sys(SYS_gettid), 9);
	if (same(how, "segv")) *(volatile int *)us = 1; /* below mmap_min_addr */
	if (same(how, "ill")) __builtin_trap();
	if (same(how, "three")) leave(3);
	if (same(how, "bye")) sys(SYS_write, 3, "\22\0\0\0\1\2\0\0\0\0\0\0\2\16\0\0finished early", 12 + 18); /* Exited, message */
	leave(0);
}

/* Leaves at args[0] ns of CLOCK_MONOTONIC, with Exited. */
static void f28(void) {
	long t = number(args[0]);
	struct { long sec, nsec; } at = {t / 1000000000, t % 1000000000};
	started();
	while (sys(SYS_clock_nanosleep, 1, 1, &at, 0) != 0) continue;
	sys(SYS_write, 3, "\22\0\0\0\1\2\0\0\0\0\0\0\2\16\0\0finished early", 12 + 18);
	leave(0);
}

/* Touches every page of its own program, again and again. */
static void f18(void) {
	started();
	struct { long sec, nsec; } nap = {0, 1000000};
	extern char __executable_start[], etext[];
	volatile char sum = 0;
	for (;;) {
		for (char *p = __executable_start; p < etext; p += 4096) sum += *p;
		sys(SYS_madvise, __executable_start, (u64)(etext - __executable_start), 4); /* DONTNEED: look again */
		sys(SYS_nanosleep, &nap, 0);
	}
}

const struct probe bombs[] = {
	{"F1", f1}, {"F18", f18}, {"F28", f28},
	{"R1", r1}, {"R2", r2}, {"R4", r4}, {"R7", r7}, {"R10", r10}, {"P15", p15}, {"P16", p16}, {"P18stain", p18stain}, {"P18look", p18look},
	{"N13", n13}, {"N16", n16}, {0, 0},
};
