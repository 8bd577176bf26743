/* Rows P: what a proc sees of files and processes, and what it can change. */
#include "probe.h"

static char text[7000];

static void show(const char *path) {
	long n = slurp(path, text, sizeof text - 1);
	tell(path, n < 0 ? n : 0, text, n < 0 ? 0 : n);
}

struct dirent64 {
	u64 ino, off;
	unsigned short len;
	u8 type;
	char name[];
};

/* list prints every entry of a directory, and of those below but for /proc's.
 * Where there is no jail, a few thousand names of the host are enough. */
static void list(const char *dir, int depth) {
	if (said > 3000) return;
	char buf[4096], path[512];
	long fd = sys(SYS_openat, AT_FDCWD, dir, O_DIRECTORY, 0), n;
	if (fd < 0) {
		say(dir, fd);
		return;
	}
	while ((n = sys(SYS_getdents64, fd, buf, sizeof buf)) > 0)
		for (long at = 0; at < n;) {
			struct dirent64 *e = (void *)(buf + at);
			at += e->len;
			if (same(e->name, ".") || same(e->name, "..")) continue;
			join(path, dir, "/");
			if (same(dir, "/")) path[0] = 0;
			join(path + len(path), same(dir, "/") ? "/" : "", e->name);
			say(path, 0);
			if (e->type == 4 && depth > 0 && !same(dir, "/proc")) list(path, depth - 1);
		}
	sys(SYS_close, fd);
}

static void p1(void) {
	static const char *absent[] = {"/sys", "/run", "/tmp", "/home", "/root", "/usr", "/bin", "/lib", "/boot", "/var", "/mnt/binfs/..data", "/dev/shm", "/dev/pts"};
	list("/", 8);
	for (u32 i = 0; i < sizeof absent / sizeof absent[0]; i++) say(absent[i], openr(absent[i]));
}

static void p2(void) {
	static const char *dirs[] = {"/", "/dev", "/etc", "/etc/ssl/certs", "/mnt", "/mnt/binfs", "/proc", "/proc/self", "/proc/self/task"};
	static const char *files[] = {
		"/etc/passwd", "/proc/self/exe", "/proc/self/oom_score_adj", "/proc/self/comm", "/proc/self/clear_refs", "/proc/self/coredump_filter", "/proc/self/loginuid",
		"/proc/self/setgroups", "/proc/self/uid_map", "/proc/self/timerslack_ns", "/proc/self/attr/current", "/proc/self/mem", "/proc/self/autogroup", "/proc/self/sched",
	};
	char name[128], path[128];
	for (u32 i = 0; i < sizeof dirs / sizeof dirs[0]; i++) {
		join(path, dirs[i], "/x");
		say(join(name, "create ", path), sys(SYS_openat, AT_FDCWD, path, O_CREAT | O_WRONLY, 0600));
		say(join(name, "tmpfile ", dirs[i]), sys(SYS_openat, AT_FDCWD, dirs[i], O_TMPFILE | O_RDWR, 0600));
		say(join(name, "mkdir ", path), sys(SYS_mkdirat, AT_FDCWD, path, 0700));
		say(join(name, "mknod ", path), sys(SYS_mknodat, AT_FDCWD, path, 010600, 0));
		say(join(name, "symlink ", path), sys(SYS_symlinkat, "/etc/passwd", AT_FDCWD, path));
		say(join(name, "link ", path), sys(SYS_linkat, AT_FDCWD, "/etc/passwd", AT_FDCWD, path, 0));
		say(join(name, "chmod ", dirs[i]), sys(SYS_fchmodat, AT_FDCWD, dirs[i], 0777));
	}
	for (u32 i = 0; i < sizeof files / sizeof files[0]; i++) {
		const char *f = files[i];
		say(join(name, "write ", f), sys(SYS_openat, AT_FDCWD, f, O_WRONLY, 0));
		say(join(name, "read and write ", f), sys(SYS_openat, AT_FDCWD, f, O_RDWR, 0));
		say(join(name, "truncate ", f), sys(SYS_openat, AT_FDCWD, f, O_WRONLY | O_TRUNC, 0));
		say(join(name, "truncate by name ", f), sys(SYS_truncate, f, 0));
		say(join(name, "unlink ", f), sys(SYS_unlinkat, AT_FDCWD, f, 0));
		say(join(name, "rename ", f), sys(SYS_renameat2, AT_FDCWD, f, AT_FDCWD, "/etc/y", 0));
		say(join(name, "chmod ", f), sys(SYS_fchmodat, AT_FDCWD, f, 0777));
		say(join(name, "chmod2 ", f), sys(nr_fchmodat2, AT_FDCWD, f, 0777, 0));
		say(join(name, "chown ", f), sys(SYS_fchownat, AT_FDCWD, f, 0, 0, 0));
		say(join(name, "utimes ", f), sys(SYS_utimensat, AT_FDCWD, f, 0, 0));
		say(join(name, "setxattr ", f), sys(SYS_setxattr, f, "user.x", "y", 1, 0));
		say(join(name, "setxattrat ", f), sys(nr_setxattrat, AT_FDCWD, f, 0, "user.x", 0, 0));
		say(join(name, "file_setattr ", f), sys(nr_file_setattr, AT_FDCWD, f, text, 24, 0));
	}
	long fd = openr("/etc/passwd");
	say("ftruncate", sys(SYS_ftruncate, fd, 0));
	say("fallocate", sys(SYS_fallocate, 1, 0, 0, 4096));
	say("fchmod", sys(SYS_fchmod, fd, 0777));
	say("flock", sys(SYS_flock, fd, 2));
	say("openat2", sys(nr_openat2, AT_FDCWD, "/etc/x", text, 24));
}

static void below(const char *dir, const char *const *names, u32 n) {
	char path[256];
	for (u32 i = 0; i < n; i++) {
		join(path, dir, names[i]);
		say(path, openr(path));
	}
}

/* args are pids of the host: sigmad's, a victim's, our own. */
static void p3(void) {
	static const char *names[] = {"", "/environ", "/mem", "/maps", "/fd", "/root", "/cwd", "/cmdline", "/stat", "/status", "/net/tcp", "/ns/mnt", "/root/etc/passwd"};
	char dir[64];
	below("/proc/1", names, sizeof names / sizeof names[0]);
	for (int i = 0; i < nargs; i++) below(join(dir, "/proc/", args[i]), names, sizeof names / sizeof names[0]);
	for (long pid = 1; pid <= 400; pid++) {
		join(dir, "/proc/", "");
		char *d = dir + len(dir), digits[8];
		int k = 0;
		for (long v = pid; v; v /= 10) digits[k++] = (char)('0' + v % 10);
		while (k) *d++ = digits[--k];
		*d = 0;
		long fd = openr(dir);
		if (fd >= 0) { /* ourselves alone: the entry says which pid that is */
			say(join(text, "exists ", dir), 0);
			sys(SYS_close, fd);
		}
	}
	say("pid", sys(SYS_getpid));
}

static void p5(void) {
	static const char *names[] = {
		"kallsyms", "kcore", "keys", "key-users", "timer_list", "sched_debug", "config.gz", "modules", "iomem", "ioports", "slabinfo", "pagetypeinfo", "interrupts",
		"cgroups", "sysrq-trigger", "sys", "sys/kernel/core_pattern", "sys/kernel/hostname", "kmsg", "vmallocinfo", "vmstat", "meminfo", "cpuinfo", "stat", "uptime", "loadavg",
		"version", "cmdline", "partitions", "diskstats", "devices", "filesystems", "locks", "swaps", "zoneinfo", "buddyinfo", "kpagecount", "kpageflags", "kpagecgroup", "pressure",
		"fs", "bus", "driver", "irq", "scsi", "tty", "acpi", "dynamic_debug", "bootconfig", "mtrr", "softirqs", "schedstat", "latency_stats", "consoles", "crypto",
	};
	static const char *net[] = {"tcp", "tcp6", "udp", "unix", "dev", "route", "arp", "softnet_stat", "protocols", "sockstat", "netlink", "packet", "nf_conntrack", "fib_trie", "snmp", "stat", "dev_snmp6", "netfilter", "ptype", "xt_recent"};
	below("/proc/", names, sizeof names / sizeof names[0]);
	below("/proc/net/", net, sizeof net / sizeof net[0]);
	below("/proc/self/net/", net, sizeof net / sizeof net[0]);
	below("/proc/thread-self/net/", net, sizeof net / sizeof net[0]);
}

static void p6(void) {
	static const char *names[] = {"/proc/self/mountinfo", "/proc/self/mounts", "/proc/self/mountstats", "/proc/self/cgroup", "/proc/self/cpuset", "/proc/self/maps", "/proc/self/environ", "/proc/self/cmdline", "/proc/self/status", "/etc/passwd", "/etc/hosts"};
	for (u32 i = 0; i < sizeof names / sizeof names[0]; i++) show(names[i]);
	static const char *links[] = {"/proc/self/exe", "/proc/self/cwd", "/proc/self/root", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2", "/proc/self/fd/3"};
	for (u32 i = 0; i < sizeof links / sizeof links[0]; i++) {
		long n = sys(SYS_readlinkat, AT_FDCWD, links[i], text, sizeof text);
		tell(links[i], n < 0 ? n : 0, text, n < 0 ? 0 : n);
	}
	struct { char f[6][65]; } u;
	sys(SYS_uname, &u);
	tell("uname", 0, u.f[1], (long)len(u.f[1]));
}

static void p7(void) {
	static const char *names[] = {
		"", "/fs/cgroup", "/fs/cgroup/release_agent", "/fs/cgroup/cgroup.procs", "/fs/cgroup/memory/memory.stat", "/fs/cgroup/memory.pressure", "/kernel", "/kernel/debug",
		"/kernel/mm/ksm/run", "/kernel/security", "/kernel/uevent_helper", "/module", "/class", "/devices", "/fs/fuse/connections", "/firmware",
	};
	below("/sys", names, sizeof names / sizeof names[0]);
	static const char *psi[] = {"/proc/pressure/cpu", "/proc/pressure/memory", "/proc/pressure/io", "/dev/cgroup", "/cgroup", "/debug"};
	below("", psi, sizeof psi / sizeof psi[0]);
}

static void p8(void) {
	static const char *names[] = {"fuse", "kvm", "net/tun", "mem", "kmem", "port", "kmsg", "loop0", "loop-control", "vda", "sda", "nvme0n1", "ptmx", "pts/0", "tty", "console", "random", "full", "userfaultfd", "vhost-net", "vsock", "hwrng", "rtc", "dri/card0", "snd", "input", "mapper/control", "uinput", "cpu_dma_latency", "autofs", "btrfs-control"};
	below("/dev/", names, sizeof names / sizeof names[0]);
	say("mknod null", sys(SYS_mknodat, AT_FDCWD, "/dev/x", 020666, 0x103));
	say("mknod disk", sys(SYS_mknodat, AT_FDCWD, "/dev/x", 060666, 0x800));
}

/* where is the device and inode behind a path. */
static long inode(const char *path, u64 *dev, u64 *ino) {
	u64 st[32];
	long r = sys(SYS_newfstatat, AT_FDCWD, path, st, 0);
	*dev = st[0], *ino = st[1];
	return r;
}

/* Every way up or out ends at the jail's own root. */
static void p10(void) {
	static const char *ups[] = {
		"/..", "/../..", "/proc/self/cwd", "/proc/self/cwd/..", "/proc/self/root", "/proc/self/root/..", "/proc/self/root/../../..", "/proc/self/cwd/../../../../..", "/proc/thread-self/root",
		"/etc/../..", "/mnt/binfs/../../..", "/proc/self/task/../../..",
	};
	u64 dev, ino, d, i;
	long r = inode("/", &dev, &ino);
	say("root", r);
	for (u32 k = 0; k < sizeof ups / sizeof ups[0]; k++) {
		r = inode(ups[k], &d, &i);
		say(ups[k], r < 0 ? r : d == dev && i == ino ? 0 : 1);
	}
	say("pid 1's root", inode("/proc/1/root", &d, &i));
	say("pid 1's cwd", inode("/proc/1/cwd", &d, &i));
	long fd = openr("/");
	u64 st[32];
	for (int k = 0; k < 40 && fd >= 0; k++) fd = sys(SYS_openat, fd, "..", 0, 0);
	say("forty levels up", fd < 0 ? fd : sys(SYS_newfstatat, fd, "", st, 0x1000) || st[0] != dev || st[1] != ino);
}

/* args are files of the host: each is tried by every way that leads there
 * where something is missing around us. */
static void flag(void) {
	static const char *ways[] = {"", "/proc/1/root", "/proc/self/root", "/proc/self/cwd", "/proc/self/root/../..", "/mnt/binfs/../..", "/host"};
	char path[512], name[600];
	for (int i = 0; i < nargs; i++)
		for (u32 k = 0; k < sizeof ways / sizeof ways[0]; k++) {
			join(path, ways[k], args[i]);
			say(join(name, "read ", path), openr(path));
			say(join(name, "write ", path), sys(SYS_openat, AT_FDCWD, path, O_WRONLY | O_TRUNC, 0));
			say(join(name, "unlink ", path), sys(SYS_unlinkat, AT_FDCWD, path, 0));
		}
}

static void p11(void) {
	long fd = openr("/");
	say("chdir", sys(SYS_chdir, ".."));
	say("fchdir", sys(SYS_fchdir, fd));
	say("chroot", sys(SYS_chroot, "."));
	say("chroot to an old root", sys(SYS_chroot, "/proc/self/root"));
	long n = sys(SYS_getcwd, text, sizeof text);
	tell("getcwd", n < 0 ? n : 0, text, n < 0 ? 0 : n - 1);
}

/* args are names that the test wants tried below /mnt/binfs. */
static void p13(void) {
	static char longname[4200], longpath[4300];
	static const char *names[] = {
		"..%2fetc", "%2e%2e", "....", ". .", "x", "s1-", "S1-", "a\nb", "\xc3\xbc\xc3\xb1\xc3\xae", "\xff\xfe", "\x01\x7f", "s1-%00", "*", "~", "`id`", "$(id)", " ", "\\", "..\\..\\etc", "s1-x/", "s1-/../x",
	};
	for (u32 i = 0; i < sizeof names / sizeof names[0]; i++) {
		char path[128];
		say(names[i], openr(join(path, "/mnt/binfs/", names[i])));
	}
	for (int i = 0; i < nargs; i++) {
		char path[512];
		say(args[i], openr(join(path, "/mnt/binfs/", args[i])));
	}
	say("the folder", openr("/mnt/binfs"));
	say("the folder, slashes", openr("//mnt///binfs//"));
	for (int i = 0; i < 4097; i++) longname[i] = 'n';
	for (int n = 255; n <= 4097; n += n == 255 ? 1 : n == 256 ? 3841 : 1) {
		longname[n] = 0;
		saynum("bytes", n, openr(join(longpath, "/mnt/binfs/", longname)));
		longname[n] = 'n';
	}
	say("exclusive", sys(SYS_openat, AT_FDCWD, "/mnt/binfs/x", O_CREAT | O_RDWR, 0600));
	long n = sys(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", text, sizeof text - 1);
	text[n < 0 ? 0 : n] = 0;
	join(text + len(text), "/", "");
	say("a program with a slash behind", openr(text));
	join(text + len(text), "..", "/../etc/passwd");
	say("through a program", openr(text));
}

static void p19(void) {
	char here;
	say("stack", (long)&here);
	say("mapping", sys(SYS_mmap, 0, 4096, 3, 0x22, -1, 0));
	say("break", sys(SYS_brk, 0));
}

static void p21(void) {
	u64 dev, ino;
	say("stat", inode("/proc/self/exe", &dev, &ino));
	say("device", (long)dev);
	say("inode", (long)ino);
}

static void p22(void) {
	long page = sys(SYS_mmap, 0, 8192, 3, 0x22, -1, 0);
	say("mergeable", sys(SYS_madvise, page, 8192, 12));
	say("unmergeable", sys(SYS_madvise, page, 8192, 13));
	say("prctl merge", sys(SYS_prctl, 67, 1, 0, 0, 0));
	say("prctl merge query", sys(SYS_prctl, 68, 0, 0, 0, 0));
}

/* What every layer said at the first instruction, and what was in the
 * registers: nothing of PID 1's or of an earlier proc's. */
static void n37(void) {
	tell("status", 0, entry_status, (long)len(entry_status));
	for (int i = 1; i < 16; i++) saynum("register", i, (long)entry[i]);
	tell("maps", 0, text, slurp("/proc/self/maps", text, sizeof text));
	for (long fd = 0; fd < 5000; fd++) {
		long r = sys(SYS_fcntl, fd, 1, 0);
		if (r >= 0) saynum("open", fd, sys(SYS_fcntl, fd, 3, 0));
	}
}

const struct probe files[] = {
	{"P1", p1}, {"P2", p2}, {"P3", p3}, {"P5", p5}, {"P6", p6}, {"P7", p7}, {"P8", p8}, {"P10", p10}, {"P11", p11}, {"P13", p13}, {"P19", p19},
	{"P21", p21}, {"P22", p22}, {"flag", flag}, {"N37", n37}, {0, 0},
};
