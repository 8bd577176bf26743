/* Rows S: system calls that a proc may not make. */
#include "probe.h"

static long out[512];
static const struct { u64 sec, nsec; } soon = {0, 1};

static void s1(void) {
	static const struct { const char *name; int family; } fams[] = {
		{"unix", 1}, {"inet", 2}, {"ax25", 3}, {"inet6", 10}, {"netlink", 16}, {"packet", 17}, {"rds", 21}, {"llc", 26}, {"can", 29},
		{"tipc", 30}, {"bluetooth", 31}, {"rxrpc", 33}, {"alg", 38}, {"vsock", 40}, {"kcm", 41}, {"qipcrtr", 42}, {"smc", 43}, {"xdp", 44},
	};
	for (u32 i = 0; i < sizeof fams / sizeof fams[0]; i++)
		for (int type = 1; type <= 5; type++) saynum(fams[i].name, type, sys(SYS_socket, fams[i].family, type | O_NONBLOCK));
	say("socketpair", sys(SYS_socketpair, 1, 1, 0, out));
}

static struct { short family; u8 b[126]; } addr;

static void s2(void) {
	addr.family = 0;
	say("connect to unspec", sys(SYS_connect, 3, &addr, 16));
	addr.family = 2, addr.b[0] = 0, addr.b[1] = 80, addr.b[2] = 127, addr.b[5] = 1;
	say("connect to inet", sys(SYS_connect, 3, &addr, 16));
	say("sendto with an address", sys(SYS_sendto, 3, "x", 1, 0, &addr, 16));
	addr.family = 1, addr.b[0] = 0, addr.b[1] = 'x';
	say("connect to unix", sys(SYS_connect, 3, &addr, 4));
	say("the channel still answers", ask(5, "", 0));
}

static void s4(void) {
	addr.family = 1;
	for (int fd = 0; fd < 4; fd++) {
		saynum("bind", fd, sys(SYS_bind, fd, &addr, 4));
		saynum("listen", fd, sys(SYS_listen, fd, 1));
		saynum("accept", fd, sys(SYS_accept, fd, 0, 0));
		saynum("accept4", fd, sys(SYS_accept4, fd, 0, 0, 0));
	}
	say("getsockname", sys(SYS_getsockname, 3, &addr, out));
	say("getpeername", sys(SYS_getpeername, 3, &addr, out));
}

static void s6(void) {
	say("io_uring_setup", sys(nr_io_uring_setup, 8, out));
	say("io_uring_enter", sys(nr_io_uring_enter, 3, 1, 0, 0));
	say("io_uring_register", sys(nr_io_uring_register, 3, 0, 0, 0));
	say("io_setup", sys(SYS_io_setup, 8, out));
	say("io_submit", sys(SYS_io_submit, 0, 1, out));
	say("io_getevents", sys(SYS_io_getevents, 0, 0, 0, 0, 0));
	say("io_cancel", sys(SYS_io_cancel, 0, out, out));
	say("io_destroy", sys(SYS_io_destroy, 0));
}

static void s7(void) {
	say("bpf map", sys(SYS_bpf, 0, out, 64));
	say("bpf prog", sys(SYS_bpf, 5, out, 64));
	say("perf_event_open", sys(SYS_perf_event_open, out, 0, -1, -1, 0));
}

static void s8(void) {
	static const struct { const char *name; long req; } reqs[] = {{"traceme", 0}, {"peek", 2}, {"attach", 16}, {"seize", 0x4206}};
	for (u32 i = 0; i < 4; i++)
		for (int pid = 0; pid < 3; pid++) saynum(reqs[i].name, pid, sys(SYS_ptrace, reqs[i].req, pid, 0, 0));
}

static void s9(void) {
	long v[2] = {(long)out, 8};
	for (int pid = 1; pid < 3; pid++) {
		saynum("process_vm_readv", pid, sys(SYS_process_vm_readv, pid, v, 1, v, 1, 0));
		saynum("process_vm_writev", pid, sys(SYS_process_vm_writev, pid, v, 1, v, 1, 0));
		saynum("kcmp", pid, sys(SYS_kcmp, 1, pid, 0, 0, 0));
	}
	say("process_madvise", sys(nr_process_madvise, 3, v, 1, 4, 0));
	say("process_mrelease", sys(nr_process_mrelease, 3, 0));
}

static void s10(void) {
	for (int pid = 1; pid < 3; pid++) saynum("pidfd_open", pid, sys(nr_pidfd_open, pid, 0));
	say("pidfd_getfd", sys(nr_pidfd_getfd, 3, 0, 0));
	say("pidfd_send_signal", sys(nr_pidfd_send_signal, 3, 9, 0, 0));
	say("kill", sys(SYS_kill, 1, 9));
	say("kill all", sys(SYS_kill, -1, 9));
	say("tkill", sys(SYS_tkill, 1, 9));
	say("rt_sigqueueinfo", sys(SYS_rt_sigqueueinfo, 1, 9, out));
	say("rt_tgsigqueueinfo", sys(SYS_rt_tgsigqueueinfo, 1, 1, 9, out));
}

static void s11(void) {
	say("add_key", sys(SYS_add_key, "user", "x", "y", 1, -3));
	say("request_key", sys(SYS_request_key, "user", "x", 0, 0));
	for (int op = 0; op < 4; op++) saynum("keyctl", op, sys(SYS_keyctl, op, -3, 0, 0, 0));
}

static void s12(void) {
	say("userfaultfd", sys(SYS_userfaultfd, 0));
	say("userfaultfd user mode", sys(SYS_userfaultfd, 1));
	say("open device", openr("/dev/userfaultfd"));
}

static void s13(void) {
	static const struct { const char *name; long flag; } ns[] = {
		{"time", 0x80}, {"mnt", 0x20000}, {"cgroup", 0x2000000}, {"uts", 0x4000000}, {"ipc", 0x8000000}, {"user", 0x10000000}, {"pid", 0x20000000}, {"net", 0x40000000},
	};
	static u64 c3[11];
	for (u32 i = 0; i < sizeof ns / sizeof ns[0]; i++) {
		char name[32];
		long r = sys(SYS_clone, ns[i].flag | 17, 0, 0, 0, 0);
		if (r == 0) leave(99);
		say(join(name, "clone ", ns[i].name), r);
		r = sys(SYS_clone, 0x50f00 | ns[i].flag, out + 400, 0, 0, 0);
		say(join(name, "thread ", ns[i].name), r);
		say(join(name, "unshare ", ns[i].name), sys(SYS_unshare, ns[i].flag));
		c3[0] = (u64)ns[i].flag, c3[4] = 17;
		r = sys(nr_clone3, c3, 64);
		if (r == 0) leave(99);
		say(join(name, "clone3 ", ns[i].name), r);
	}
	static const long forks[] = {17, 0x4111, 0x1200011, 0x801100 | 17, 0x50f00 ^ 0x10000, 0x50f00 | 0x8000, 0x50f00 | 17};
	for (u32 i = 0; i < sizeof forks / sizeof forks[0]; i++) {
		long r = sys(SYS_clone, forks[i], 0, out, 0, 0);
		if (r == 0) leave(99);
		saynum("clone", forks[i], r);
	}
#ifdef SYS_fork
	long r = sys(SYS_fork);
	if (r == 0) leave(99);
	say("fork", r);
	r = sys(SYS_vfork);
	if (r == 0) leave(99);
	say("vfork", r);
#endif
}

static void s14(void) {
	static const char *ns[] = {"cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "time", "user", "uts"};
	for (u32 i = 0; i < sizeof ns / sizeof ns[0]; i++) {
		char path[64], name[64];
		long fd = openr(join(path, "/proc/self/ns/", ns[i]));
		if (fd < 0) fd = 77;
		say(join(name, "setns ", ns[i]), sys(SYS_setns, fd, 0));
		say(join(name, "ioctl parent ", ns[i]), sys(SYS_ioctl, fd, 0xb702));
		say(join(name, "ioctl user ", ns[i]), sys(SYS_ioctl, fd, 0xb701));
		say(join(name, "open of pid 1 ", ns[i]), openr(join(path, "/proc/1/ns/", ns[i])));
	}
	for (int fd = 0; fd < 4; fd++) saynum("setns of fd", fd, sys(SYS_setns, fd, 0));
}

static void s15(void) {
	say("mount", sys(SYS_mount, "none", "/dev", "tmpfs", 0, 0));
	say("remount", sys(SYS_mount, 0, "/", 0, 32, 0));
	say("bind", sys(SYS_mount, "/etc", "/dev", 0, 4096, 0));
	say("umount2", sys(SYS_umount2, "/proc", 2));
	say("pivot_root", sys(SYS_pivot_root, ".", "."));
	say("chroot", sys(SYS_chroot, "/proc"));
	say("fsopen", sys(nr_fsopen, "ext4", 0));
	say("fsconfig", sys(nr_fsconfig, 3, 0, "x", "y", 0));
	say("fsmount", sys(nr_fsmount, 3, 0, 0));
	say("fspick", sys(nr_fspick, AT_FDCWD, "/", 0));
	say("open_tree", sys(nr_open_tree, AT_FDCWD, "/", 1));
	say("open_tree_attr", sys(nr_open_tree_attr, AT_FDCWD, "/", 1, 0, 0));
	say("move_mount", sys(nr_move_mount, AT_FDCWD, "/dev", AT_FDCWD, "/etc", 0));
	say("mount_setattr", sys(nr_mount_setattr, AT_FDCWD, "/", 0, out, 32));
	say("statmount", sys(nr_statmount, out, out, 64, 0));
	say("listmount", sys(nr_listmount, out, out, 8, 0));
	say("swapon", sys(SYS_swapon, "/etc/passwd", 0));
	say("swapoff", sys(SYS_swapoff, "/etc/passwd"));
	say("quotactl", sys(SYS_quotactl, 0x800007, 0, 0, out));
	say("quotactl_fd", sys(nr_quotactl_fd, 3, 0, 0, out));
	say("statfs", sys(SYS_statfs, "/", out));
	say("fstatfs", sys(SYS_fstatfs, 1, out));
}

static void s16(void) {
	static struct { u32 bytes; int type; u8 handle[128]; } h = {8, 1, {2}};
	int id;
	say("name_to_handle_at", sys(SYS_name_to_handle_at, AT_FDCWD, "/", &h, &id, 0));
	say("open_by_handle_at", sys(SYS_open_by_handle_at, 3, &h, 0));
	say("open_by_handle_at cwd", sys(SYS_open_by_handle_at, AT_FDCWD, &h, 0));
}

static void s17(void) {
	say("no randomisation", sys(SYS_personality, 0x40000));
	say("read implies exec", sys(SYS_personality, 0x400000));
	say("uname 2.6", sys(SYS_personality, 0x20000));
	say("query", sys(SYS_personality, 0xffffffff));
}

#if defined(__x86_64__)
/* Each of these ends us; a line means that it did not. args[0] chooses. */
static void s19(void) {
	long nr = nargs > 0 ? number(args[0]) : SYS_write;
	say("x32", sys(0x40000000 | nr, 1, "x", 1));
}

static void s20(void) {
	long r = 0, nr = nargs > 1 ? number(args[1]) : 20;
	if (nargs > 0 && same(args[0], "sysenter"))
		/* In 64-bit mode Intel's sysenter enters the kernel's 32-bit path. */
		__asm__ volatile("sysenter" : "=a"(r) : "a"(nr), "b"(0), "c"(0), "d"(0) : "memory", "rsi", "rdi", "r8", "r9", "r10", "r11");
	else
		__asm__ volatile("int $0x80" : "=a"(r) : "a"(nr), "b"(0), "c"(0), "d"(0) : "memory");
	say("i386", r);
}

/* A handler for SIGSYS that would go on as if nothing had been. */
static void shrug(int sig) {
	(void)sig;
	say("the handler ran", 0);
}
__asm__(".globl restore\nrestore: mov $15, %eax\n syscall\n");
extern void restore(void);

static void s40(void) {
	struct { void (*fn)(int); u64 flags; void (*restorer)(void); u64 mask; } a = {shrug, 0x4000000, restore, 0};
	say("handler", sys(SYS_rt_sigaction, 31, &a, 0, 8));
	for (int i = 0; i < 3; i++) saynum("socket", i, sys(SYS_socket, 2, 1, 0));
	say("x32", sys(0x40000000 | SYS_write, 1, "x", 1));
}
#endif

static void s22(void) {
	static const long reqs[] = {
		0x80086601, 0x40086602, 0x401c5820, 0xc020660b, 0x40049409, 0x4020940d, 0x8004587d, 0xc0185879, 0x8004e500, 0x80081272, 0x1260, 0x4c00, 0x4c80,
		0xb701, 0xb702, 0xb703, 0xb704, 0x8912, 0x8927, 0x8905, 0x8901, 0x8902, 0x5412, 0x541c, 0x540e, 0x5422, 0x5452, 0x5450, 0x5451, 0x40085203,
		0x5207, 0xc0502100, 0xc0182101, 0x2400, 0xae01, 0xaf01, 0x4b3a, 0x100005412, 0x5402, 0x5414,
	};
	for (int fd = 0; fd < 4; fd++)
		for (u32 i = 0; i < sizeof reqs / sizeof reqs[0]; i++) saynum("ioctl", reqs[i], sys(SYS_ioctl, fd, reqs[i], out));
	long fd = openr("/dev/urandom");
	say("add entropy", sys(SYS_ioctl, fd, 0x40085203, out));
	fd = openr("/proc/self/status");
	say("flags of a file", sys(SYS_ioctl, fd, 0x80086601, out));
}

static void s23(void) {
	static char *argv[] = {"x", 0};
	say("memfd_create", sys(SYS_memfd_create, "x", 0));
	say("memfd_create hugetlb", sys(SYS_memfd_create, "x", 4));
	say("memfd_create exec", sys(SYS_memfd_create, "x", 0x10));
	say("memfd_secret", sys(nr_memfd_secret, 0));
	say("execve of itself", sys(SYS_execve, "/proc/self/exe", argv, 0));
	long fd = sys(SYS_openat, AT_FDCWD, "/proc/self/exe", O_PATH, 0);
	say("execveat of itself", sys(SYS_execveat, fd, "", argv, 0, 0x1000));
	fd = openr("/proc/self/exe");
	say("execveat of an open file", sys(SYS_execveat, fd, "", argv, 0, 0x1000));
	say("execveat of the right number", sys(SYS_execveat, 4096, "", argv, 0, 0x1000, 0));
	say("execveat with a guess", sys6(SYS_execveat, 4096, (long)"", (long)argv, 0, 0x1000, 0x123456789));
	struct { u64 cur, max; } l = {8192, 8192};
	long raised = sys(SYS_prlimit64, 0, 7, &l, 0);
	say("a descriptor with that number", raised < 0 && sys(SYS_dup3, fd, 4096, 0) == -9 && sys(SYS_fcntl, fd, 0, 4096) == -22 ? -1 : 0);
	say("limits of pid 1", sys(SYS_prlimit64, 1, 7, &l, 0));
	say("kexec_load", sys(SYS_kexec_load, 0, 0, 0, 0));
	say("init_module", sys(SYS_init_module, out, 8, ""));
	say("finit_module", sys(SYS_finit_module, fd, "", 0));
}

static void s25(void) {
	say("map writable and executable", sys(SYS_mmap, 0, 4096, 7, 0x22, -1, 0));
	long page = sys(SYS_mmap, 0, 4096, 3, 0x22, -1, 0);
	say("make writable and executable", sys(SYS_mprotect, page, 4096, 7));
	say("map at 0", sys(SYS_mmap, 0, 4096, 3, 0x32, -1, 0));
	say("pkey_alloc", sys(SYS_pkey_alloc, 0, 0));
	say("pkey_mprotect", sys(SYS_pkey_mprotect, page, 4096, 7, -1));
	say("pkey_free", sys(SYS_pkey_free, 1));
	say("remap_file_pages", sys(SYS_remap_file_pages, page, 4096, 0, 0, 0));
	say("mseal", sys(nr_mseal, page, 4096, 0));
	say("map_shadow_stack", sys(nr_map_shadow_stack, 0, 4096, 0));
	/* The policy allows a toggle: a JIT needs one. */
	say("policy: executable after writing", sys(SYS_mprotect, page, 4096, 5));
}

static void s27(void) {
#if defined(__x86_64__)
	static const long codes[] = {0x1001, 0x1004, 0x1011, 0x1012, 0x1021, 0x1022, 0x1023, 0x1024, 0x1025, 0x2001, 0x2002, 0x2003, 0x3001, 0x4001, 0x4002, 0x4003, 0x5001, 0x5002, 0x5003, 0x5005};
	for (u32 i = 0; i < sizeof codes / sizeof codes[0]; i++) saynum("arch_prctl", codes[i], sys(SYS_arch_prctl, codes[i], out));
	say("modify_ldt", sys(SYS_modify_ldt, 0, out, 16));
	say("iopl", sys(SYS_iopl, 3));
	say("ioperm", sys(SYS_ioperm, 0x80, 1, 1));
	say("set_thread_area", sys(SYS_set_thread_area, out));
	say("get_thread_area", sys(SYS_get_thread_area, out));
#endif
}

static void s28(void) {
	static u32 hdr[2] = {0x20080522, 0}, caps[6] = {~0u, ~0u, ~0u, ~0u, ~0u, ~0u};
	static char now[4096];
	say("setuid", sys(SYS_setuid, 0));
	say("setgid", sys(SYS_setgid, 0));
	say("setreuid", sys(SYS_setreuid, 0, 0));
	say("setregid", sys(SYS_setregid, 0, 0));
	say("setresuid", sys(SYS_setresuid, 0, 0, 0));
	say("setresgid", sys(SYS_setresgid, 0, 0, 0));
	say("setgroups", sys(SYS_setgroups, 0, 0));
	say("setfsuid", sys(SYS_setfsuid, 0));
	say("setfsgid", sys(SYS_setfsgid, 0));
	say("capset", sys(SYS_capset, hdr, caps));
	say("setsid", sys(SYS_setsid));
	say("setpgid", sys(SYS_setpgid, 0, 0));
	say("sethostname", sys(SYS_sethostname, "x", 1));
	say("setdomainname", sys(SYS_setdomainname, "x", 1));
	long n = slurp("/proc/self/status", now, sizeof now - 1);
	tell("status", n, now, n);
}

static void s30(void) {
	say("mbind", sys(SYS_mbind, 0, 4096, 0, 0, 0, 0));
	say("set_mempolicy", sys(SYS_set_mempolicy, 0, 0, 0));
	say("set_mempolicy_home_node", sys(nr_set_mempolicy_home_node, 0, 4096, 0, 0));
	say("get_mempolicy", sys(SYS_get_mempolicy, out, 0, 0, 0, 0));
	say("migrate_pages", sys(SYS_migrate_pages, 1, 1, out, out));
	say("move_pages", sys(SYS_move_pages, 1, 0, 0, 0, 0, 0));
	say("mlock", sys(SYS_mlock, out, 4096));
	say("mlock2", sys(SYS_mlock2, out, 4096, 0));
	say("mlockall", sys(SYS_mlockall, 7));
	say("sched_setaffinity", sys(SYS_sched_setaffinity, 0, 8, out));
	say("sched_setscheduler", sys(SYS_sched_setscheduler, 0, 1, out));
	say("sched_setattr", sys(SYS_sched_setattr, 0, out, 0));
	say("setpriority", sys(SYS_setpriority, 0, 0, -20));
	say("ioprio_set", sys(SYS_ioprio_set, 1, 0, 0x2000));
}

static void s31(void) {
	say("shmget", sys(SYS_shmget, 0, 4096, 01600));
	say("shmat", sys(SYS_shmat, 0, 0, 0));
	say("msgget", sys(SYS_msgget, 0, 01600));
	say("semget", sys(SYS_semget, 0, 1, 01600));
	say("mq_open", sys(SYS_mq_open, "x", O_CREAT | O_RDWR, 0600, 0));
	say("open /dev/shm", sys(SYS_openat, AT_FDCWD, "/dev/shm/x", O_CREAT | O_RDWR, 0600));
	say("open /dev/mqueue", openr("/dev/mqueue"));
}

static void s33(void) {
	int p[2];
	long v[2] = {(long)out, 8}, fd = openr("/proc/self/exe"), page = sys(SYS_mmap, 0, 4096, 1, 2, fd, 0);
	sys(SYS_pipe2, p, O_NONBLOCK);
	say("splice", sys(SYS_splice, fd, 0, p[1], 0, 16, 2));
	say("tee", sys(SYS_tee, p[0], p[1], 16, 2));
	say("vmsplice", sys(SYS_vmsplice, p[1], v, 1, 0));
	say("sendfile", sys(SYS_sendfile, p[1], fd, 0, 16));
	say("copy_file_range", sys(SYS_copy_file_range, fd, 0, p[1], 0, 16, 0));
	say("preadv2 nowait", sys(SYS_preadv2, fd, v, 1, 0, 0, 8));
	say("pwritev2", sys(SYS_pwritev2, 1, v, 1, -1, -1, 0));
	say("mincore", sys(SYS_mincore, page, 4096, out));
	say("cachestat", sys(nr_cachestat, fd, out, out, 0));
	say("readahead", sys(SYS_readahead, fd, 0, 4096));
	say("fadvise64", sys(SYS_fadvise64, fd, 0, 0, 4));
	say("process_madvise", sys(nr_process_madvise, fd, v, 1, 21, 0));
	say("fanotify_init", sys(SYS_fanotify_init, 0, 0));
	say("inotify_init1", sys(SYS_inotify_init1, 0));
	say("lookup_dcookie", sys(SYS_lookup_dcookie, 0, out, 8));
	say("syslog", sys(SYS_syslog, 3, out, 64));
}

static void s34(void) {
	struct { long value; int signo, notify, tid, pad[12]; } ev = {0, 14, 4, 1, {0}};
	long t;
	say("clock_settime", sys(SYS_clock_settime, 0, &soon));
	say("settimeofday", sys(SYS_settimeofday, &soon, 0));
	say("adjtimex", sys(SYS_adjtimex, out));
	say("clock_adjtime", sys(SYS_clock_adjtime, 0, out));
	say("timer_create to another thread", sys(SYS_timer_create, 1, &ev, &t));
	say("timerfd_create", sys(SYS_timerfd_create, 1, 0));
	say("reboot", sys(SYS_reboot, 0xfee1dead, 672274793, 0, 0));
	say("acct", sys(SYS_acct, 0));
	say("vhangup", sys(SYS_vhangup));
}

static void s36(void) {
	struct { unsigned short n; void *p; } prog = {0, 0};
	say("seccomp listener", sys(SYS_seccomp, 1, 8, &prog));
	say("seccomp filter", sys(SYS_seccomp, 1, 0, &prog));
	say("seccomp strict", sys(SYS_seccomp, 0, 0, 0));
	say("seccomp sizes", sys(SYS_seccomp, 3, 0, out));
	say("prctl seccomp", sys(SYS_prctl, 22, 2, &prog, 0, 0));
	say("landlock create", sys(nr_landlock_create_ruleset, out, 8, 0));
	say("landlock version", sys(nr_landlock_create_ruleset, 0, 0, 1));
	say("landlock add", sys(nr_landlock_add_rule, 3, 1, out, 0));
	say("landlock restrict", sys(nr_landlock_restrict_self, 3, 0));
	say("lsm_set_self_attr", sys(nr_lsm_set_self_attr, 100, out, 64, 0));
}

static void n14(void) {
	struct { u64 clen; int level, type, fds[253]; } c = {16 + 4 * 253, 1, 1, {0}};
	struct { void *base; u64 n; } v = {"x", 1};
	struct { void *name; u32 namelen, pad; void *iov; u64 iovlen; void *control; u64 clen; long flags; } m = {0, 0, 0, &v, 1, &c, sizeof c, 0};
	for (int i = 0; i < 253; i++) c.fds[i] = i % 4; /* our own socket among them: a cycle */
	say("253 descriptors", sys(SYS_sendmsg, 3, &m, 0));
	c.clen = 20, m.clen = 24, c.fds[0] = 3;
	say("the socket itself", sys(SYS_sendmsg, 3, &m, 0));
	c.fds[0] = (int)sys(SYS_epoll_create1, 0);
	say("an epoll", sys(SYS_sendmsg, 3, &m, 0));
	say("sendmmsg", sys(SYS_sendmmsg, 3, &m, 1, 0));
	say("the channel still answers", ask(5, "", 0));
}

const struct probe calls[] = {
	{"S1", s1}, {"S2", s2}, {"S4", s4}, {"S6", s6}, {"S7", s7}, {"S8", s8}, {"S9", s9}, {"S10", s10}, {"S11", s11}, {"S12", s12}, {"S13", s13},
	{"S14", s14}, {"S15", s15}, {"S16", s16}, {"S17", s17}, {"S22", s22}, {"S23", s23}, {"S25", s25}, {"S27", s27}, {"S28", s28}, {"S30", s30},
	{"S31", s31}, {"S33", s33}, {"S34", s34}, {"S36", s36}, {"N14", n14},
#if defined(__x86_64__)
	{"S19", s19}, {"S20", s20}, {"S40", s40},
#endif
	{0, 0},
};
