/* PID 1 of a slot: builds the σcontainer around itself, then starts one proc
 * after another in it. It has no libc and no heap, and ends
 * when its socket to sigmad ends.
 *
 * What only we may call — clone, wait4, kill, execveat — the filter lets pass
 * with a random key in the unused sixth argument. exec clears the registers and
 * replaces the memory, so no proc ever has it; and it opens nothing beyond the
 * slot.
 *
 * Between procs a child that shares our memory waits in recvmsg with every layer
 * on. A start is one message to it, then exec: a fresh address space. Nothing
 * of that needs us, so a start costs no switch to PID 1.
 *
 * We are two threads: one waits for the child, the other for what sigmad says.
 * One that polls for both needs a pidfd for every proc, which costs more than
 * the second thread does.
 */
#include "proto.h"

#define CTL 20   /* control socket, after setup */
#define START 21 /* start socket */

/* A PID 1 that leaves the namespaces out exists only in the test that asks what
 * the other layers hold without them (-tags unsafelayers); what sigmad embeds is
 * built without the macro. */
#ifdef NO_NAMESPACES
#define BINFS 22 /* the realm's folder, on the host's own tree */
#define FOLDER BINFS
#define PROGRAM (path + 10)
#else
#define FOLDER AT_FDCWD
#define PROGRAM path
#endif

#define MAXMSG (192 << 10)
#define MAXSTR (32 << 10)

static u8 msgbuf[MAXMSG] __attribute__((aligned(16)));
static u8 cfgbuf[48 << 10] __attribute__((aligned(16)));
static char *argvec[MAXSTR + 4];
static u8 stack[32 << 10] __attribute__((aligned(16)));
static u8 stack2[8 << 10] __attribute__((aligned(16)));

static u32 exec_fd;
static u64 key;
static struct board *board;

/* Written by the child, read by us once it ended; seq also while it runs. */
static volatile u32 cur_seq, kill_seq, fail_stage, fail_errno;
static volatile i32 cur_pid; /* of the child; the kernel writes it before the child runs */
static volatile u64 stamp_taken, stamp_exec;

void *memcpy(void *d, const void *s, u64 n) {
	u8 *a = d;
	const u8 *b = s;
	while (n--) *a++ = *b++;
	return d;
}
void *memset(void *d, int c, u64 n) {
	u8 *a = d;
	while (n--) *a++ = (u8)c;
	return d;
}

static void die(void) {
	for (;;) sys1(SYS_exit_group, 1);
}

static u64 now(void) {
	struct timespec t = {0, 0};
	sys2(SYS_clock_gettime, 1, &t);
	return (u64)t.sec * 1000000000UL + (u64)t.nsec;
}

static void report(u32 kind, u32 stage, u32 error, u32 status) {
	struct report r;
	memset(&r, 0, sizeof r);
	r.kind = kind;
	r.stage = stage;
	r.error = error;
	r.status = status;
	sys3(SYS_write, CTL, &r, sizeof r);
}

/* must ends a setup that cannot go on, after telling sigmad where and why. */
static i64 must(u32 stage, i64 r) {
	if (r < 0) {
		report(R_FAILED, stage, (u32)-r, 0);
		die();
	}
	return r;
}

/* recv reads one record and up to max descriptors; returns its length, -errno,
 * or 0 at the end of the socket. Unused places in fds are -1. */
static i64 recv(int sock, void *buf, u64 len, i32 *fds, int max) {
	union { struct cmsghdr h; u8 b[64]; } c;
	struct iovec v = {buf, len};
	struct msghdr m = {0, 0, 0, &v, 1, &c, sizeof c, 0, 0};
	i64 n;
	do n = sys3(SYS_recvmsg, sock, &m, MSG_CMSG_CLOEXEC);
	while (n == -EINTR);
	for (int i = 0; i < max; i++) fds[i] = -1;
	if (n <= 0) return n;
	if (m.flags & (MSG_TRUNC | MSG_CTRUNC)) return -EPROTO;
	if (m.controllen >= sizeof c.h && c.h.level == 1 && c.h.type == 1) {
		int k = (int)((c.h.len - sizeof c.h) / 4);
		for (int i = 0; i < k && i < max; i++) fds[i] = ((i32 *)(c.b + sizeof c.h))[i];
	}
	return n;
}

static char *next(char *p, char *end) {
	while (p < end && *p) p++;
	return p < end ? p + 1 : 0;
}

/* ---- the child: from here to exec it runs beside PID 1 in the same memory ---- */

static void fail(u32 stage, i64 r) {
	fail_stage = stage;
	fail_errno = (u32)-r;
	for (;;) sys1(SYS_exit, 127);
}

static void child(void) {
	struct start *s = (struct start *)msgbuf;
	i32 fd;
	i64 r, n = recv(START, msgbuf, sizeof msgbuf, &fd, 1);
	if (n == 0) for (;;) sys1(SYS_exit, 0);
	if (n < (i64)sizeof *s || fd != 3) fail(S_RECV, n < 0 ? n : -EPROTO);
	stamp_taken = now();
	cur_seq = s->seq;
	__sync_synchronize();
	if (kill_seq == s->seq) for (;;) sys1(SYS_exit, 0);
	board->seq = s->seq;
	board->exec = 0;
	board->taken = stamp_taken;

	/* "mnt/binfs/" goes in front of the name, where the head was. */
	u32 seq_nofile = s->nofile, argc = s->argc, envc = s->envc;
	char *end = (char *)msgbuf + n, *p = (char *)msgbuf + sizeof *s;
	char *path = p - 10;
	p = next(p, end);
	if (!p || argc + envc > MAXSTR) fail(S_RECV, -EPROTO);
	char **v = argvec;
	for (u32 i = 0; i < argc; i++) {
		*v++ = p;
		if (!(p = next(p, end))) fail(S_RECV, -EPROTO);
	}
	*v++ = 0;
	char **env = v;
	for (u32 i = 0; i < envc; i++) {
		*v++ = p;
		if (!(p = next(p, end))) fail(S_RECV, -EPROTO);
	}
	*v = 0;
	memcpy(path, "mnt/binfs/", 10);

	if ((r = sys3(SYS_fcntl, 3, F_SETFD, 0)) < 0) fail(S_MOVE, r);
	i64 prog = sys4(SYS_openat, FOLDER, PROGRAM, O_PATH | O_CLOEXEC, 0);
	if (prog < 0) fail(S_OPEN, prog);
	if ((r = sys3(SYS_fcntl, prog, F_DUPFD_CLOEXEC, exec_fd)) != (i64)exec_fd) fail(S_MOVE, r < 0 ? r : -EPROTO);
	struct rlimit64 lim = {seq_nofile, seq_nofile};
	if ((r = sys4(SYS_prlimit64, 0, RLIMIT_NOFILE, &lim, 0)) < 0) fail(S_LIMIT, r);
	board->exec = stamp_exec = now();
	fail(S_EXEC, sys6(SYS_execveat, exec_fd, (i64)"", (i64)argvec, (i64)env, AT_EMPTY_PATH, (i64)key));
}

/* ---- PID 1 ---- */

static void kill(i64 pid, u32 signal) { sys6(SYS_kill, pid, signal, 0, 0, 0, (i64)key); }

/* finish waits for the child, ends what is left in the namespace, and puts the
 * shared descriptions of 0 to 2 back as they were: the next proc sees nothing
 * of this one. What is left would be ours, for orphans are given to PID 1 before
 * their parent is reaped; asking for that is cheap, where kill(-1) walks over all
 * processes of the machine. */
static void finish(i64 pid) {
	struct rusage u;
	struct report r;
	i32 status = 0;
	memset(&r, 0, sizeof r);
	while (sys6(SYS_wait4, pid, (i64)&status, 0, (i64)&u, 0, (i64)key) == -EINTR);
	for (i64 left; (left = sys6(SYS_wait4, -1, 0, WNOHANG | WALL, 0, 0, (i64)key)) != -ECHILD;) {
		if (left != 0) continue;
		kill(-1, SIGKILL);
		sys6(SYS_wait4, -1, 0, WALL, 0, 0, (i64)key);
	}
	for (int fd = 0; fd < 3; fd++) sys3(SYS_fcntl, fd, F_SETFL, 0);
	r.kind = R_EXIT;
	r.seq = cur_seq;
	r.stage = fail_stage;
	r.error = fail_errno;
	r.status = (u32)status;
	r.utime_us = (u64)u.utime[0] * 1000000UL + (u64)u.utime[1];
	r.stime_us = (u64)u.stime[0] * 1000000UL + (u64)u.stime[1];
	r.maxrss_kb = (u64)u.maxrss;
	r.taken = stamp_taken;
	r.exec = stamp_exec;
	board->seq = 0;
	cur_seq = fail_stage = fail_errno = 0;
	stamp_taken = stamp_exec = 0;
	sys3(SYS_write, CTL, &r, sizeof r);
}

/* listen is the second thread: it takes commands until sigmad's end is gone, and
 * all of us with it. The kill of a proc that the child has not read yet is
 * remembered, and one that has ended is no longer meant: a number is not used
 * again before the kernel has gone through all others. */
static void listen(void) {
	for (;;) {
		struct command c;
		i64 n = recv(CTL, &c, sizeof c, 0, 0);
		if (n != sizeof c) die();
		if (c.seq == 0) continue;
		if (c.signal == SIGKILL) kill_seq = c.seq;
		__sync_synchronize();
		i32 pid = cur_pid;
		__sync_synchronize();
		if (cur_seq == c.seq) kill(pid, c.signal);
	}
}

static void serve(void) {
	must(S_FORK, clone_on(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM,
		stack2 + sizeof stack2, 0, listen, key));
	for (;;) {
		i64 pid = clone_on(CLONE_VM | CLONE_UNTRACED | CLONE_PARENT_SETTID | SIGCHLD,
			stack + sizeof stack, (i32 *)&cur_pid, child, key);
		if (pid < 0) must(S_FORK, pid);
		finish(pid);
	}
}

/* ---- setup ---- */

/* attrs is a procfs of our own, for enter alone: what is looked up in one stays in
 * its cache of names, and procs would find there that PID 1 exists. */
static i64 attrs = -1;

static void open_attrs(void) {
	attrs = must(S_PROC, sys4(SYS_openat, AT_FDCWD, "proc", O_PATH | O_CLOEXEC, 0));
}

#ifdef NO_NAMESPACES
static void jail(char *binfs, const char *profile) {
	if (*profile) open_attrs();
	i64 fd = must(S_BINFS, sys4(SYS_openat, AT_FDCWD, binfs, O_PATH | O_CLOEXEC, 0));
	must(S_BINFS, sys3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, BINFS));
	sys1(SYS_close, fd);
}
#else
static void bind(u32 stage, const char *from, const char *to, u64 flags) {
	must(stage, sys5(SYS_mount, from, to, 0, MS_BIND, 0));
	must(stage, sys5(SYS_mount, 0, to, 0, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | flags, 0));
}

static void procfs(void) {
	must(S_PROC, sys5(SYS_mount, "proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		"hidepid=ptraceable,subset=pid"));
}

static void jail(char *binfs, char *template, const char *profile) {
	must(S_JAIL, sys5(SYS_mount, 0, "/", 0, MS_REC | MS_PRIVATE, 0));
	bind(S_JAIL, template, template, MS_NOEXEC);
	must(S_JAIL, sys1(SYS_chdir, template));
	bind(S_BINFS, binfs, "mnt/binfs", MS_NODEV);
	if (*profile) {
		procfs();
		open_attrs();
		must(S_PROC, sys2(SYS_umount2, "proc", MNT_DETACH));
	}
	procfs();
	must(S_PIVOT, sys2(SYS_pivot_root, ".", "."));
	must(S_PIVOT, sys2(SYS_umount2, ".", MNT_DETACH));
	must(S_PIVOT, sys1(SYS_chdir, "/"));
}
#endif

static void limits(void) {
	static const u32 zero[] = {RLIMIT_CORE, RLIMIT_FSIZE, RLIMIT_MEMLOCK, RLIMIT_MSGQUEUE, RLIMIT_NICE, RLIMIT_RTPRIO};
	struct rlimit64 l = {0, 0};
	for (u32 i = 0; i < sizeof zero / sizeof zero[0]; i++)
		must(S_RLIMIT, sys4(SYS_prlimit64, 0, zero[i], &l, 0));
}

/* enter changes to an AppArmor profile. The profile forbids what set-up needs,
 * and no_new_privs forbids the change: it has to be just between them. And the
 * kernel refuses the write to who has other credentials than the opener had. */
static void enter(char *profile) {
	static char line[128] = "changeprofile ";
	u32 n = 14;
	i64 attr = sys4(SYS_openat, attrs, "self/attr/apparmor/current", O_WRONLY | O_CLOEXEC, 0);
	if (attr < 0) attr = must(S_APPARMOR, sys4(SYS_openat, attrs, "self/attr/current", O_WRONLY | O_CLOEXEC, 0));
	for (; *profile && n < sizeof line; profile++) line[n++] = *profile;
	must(S_APPARMOR, sys3(SYS_write, attr, line, n));
	sys1(SYS_close, attr);
	sys1(SYS_close, attrs);
}

static void become(u32 uid) {
	struct { u32 version; i32 pid; } h = {0x20080522, 0};
	u32 none[6] = {0};
	/* noroot, no_setuid_fixup, keep_caps off, no_cap_ambient_raise; all locked */
	must(S_CAPS, sys2(SYS_prctl, PR_SET_SECUREBITS, 0x01 | 0x02 | 0x08 | 0x20 | 0x40 | 0x80));
	sys2(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL);
	for (int cap = 0; cap < 64; cap++) sys2(SYS_prctl, PR_CAPBSET_DROP, cap);
	must(S_UID, sys2(SYS_setgroups, 0, 0));
	must(S_UID, sys3(SYS_setresgid, uid, uid, uid));
	must(S_UID, sys3(SYS_setresuid, uid, uid, uid));
	must(S_CAPS, sys2(SYS_capset, &h, none));
	must(S_CAPS, sys2(SYS_prctl, PR_SET_DUMPABLE, 0));
}

static void allow_fd(i64 ruleset, i32 fd, u64 access) {
	struct { u64 access; i32 fd; } __attribute__((packed)) rule;
	rule.access = access;
	rule.fd = fd;
	must(S_LANDLOCK, sys4(SYS_landlock_add_rule, ruleset, 1, &rule, 0));
}

static void allow(i64 ruleset, const char *path, u64 access) {
	i32 fd = (i32)must(S_LANDLOCK, sys4(SYS_openat, AT_FDCWD, path, O_PATH | O_CLOEXEC, 0));
	allow_fd(ruleset, fd, access);
	sys1(SYS_close, fd);
}

static void landlock(struct config *c) {
	enum { EXECUTE = 1, WRITE_FILE = 2, READ_FILE = 4, READ_DIR = 8 };
	u64 attr[3] = {c->ll_fs, c->ll_net, c->ll_scoped};
	if (!c->ll_size) return;
	i64 r = must(S_LANDLOCK, sys3(SYS_landlock_create_ruleset, attr, c->ll_size, 0));
	allow(r, "/", READ_DIR);
	allow(r, "/etc", READ_FILE);
	allow(r, "/proc", READ_FILE);
	allow(r, "/dev", READ_FILE | WRITE_FILE);
#ifdef NO_NAMESPACES
	allow_fd(r, BINFS, READ_FILE | EXECUTE);
#else
	allow(r, "/mnt/binfs", READ_FILE | EXECUTE);
#endif
	must(S_LANDLOCK, sys2(SYS_landlock_restrict_self, r, 0));
	sys1(SYS_close, r);
}

/* plain gives every signal its default and blocks none: whoever started sigmad
 * may have ignored some, and exec passes that on to every proc. */
static void plain(void) {
	u64 none[4] = {0, 0, 0, 0};
	for (int sig = 1; sig <= 64; sig++) sys4(SYS_rt_sigaction, sig, none, 0, 8);
	sys4(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, none, 0, 8);
}

__attribute__((used)) void init_main(void) {
	i32 fds[2];
	plain();
	sys2(SYS_prctl, PR_SET_NAME, "slotinit");
	/* 3 and 4 must be free for the procs: our own sockets move up first. */
	sys3(SYS_fcntl, 3, F_DUPFD_CLOEXEC, CTL);
	sys3(SYS_fcntl, 4, F_DUPFD_CLOEXEC, START);
	/* Nothing that sigmad itself inherited may come through. */
	must(S_CONFIG, sys3(SYS_close_range, 3, CTL - 1, 0));
	must(S_CONFIG, sys3(SYS_close_range, START + 1, ~0U, 0));

	struct config *c = (struct config *)cfgbuf;
	i64 n = must(S_CONFIG, recv(CTL, cfgbuf, sizeof cfgbuf, fds, 2));
	if (n == 0) die();
	if (n < (i64)sizeof *c || c->version != PROTO_VERSION || fds[1] < 0) must(S_CONFIG, -EPROTO);
	char *end = (char *)cfgbuf + n;
	struct sock_fprog filter = {(u16)c->filter, cfgbuf + sizeof *c};
	exec_fd = c->exec_fd;
	key = c->key;
	char *binfs = (char *)cfgbuf + sizeof *c + 8UL * c->filter;
	char *template = binfs < end ? next(binfs, end) : 0;
	char *profile = template ? next(template, end) : 0;
	if (!profile || !next(profile, end)) must(S_CONFIG, -EPROTO);

	board = (struct board *)must(S_BOARD, sys6(SYS_mmap, 0, 4096, PROT_RW, MAP_SHARED, fds[1], 0));
	must(S_SETNS, sys2(SYS_setns, fds[0], CLONE_NEWNS));
	sys1(SYS_close, fds[0]);
	sys1(SYS_close, fds[1]);
#ifdef NO_NAMESPACES
	jail(binfs, profile);
#else
	must(S_UNSHARE, sys1(SYS_unshare, CLONE_NEWNS | CLONE_NEWCGROUP));
	must(S_HOST, sys2(SYS_sethostname, "sigma", 5));
	jail(binfs, template, profile);
#endif
	limits();
	become(c->uid);
	if (*profile) enter(profile);
	must(S_NNP, sys5(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	landlock(c);
	i64 lis = must(S_OUTER, sys3(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter));

	/* sigmad takes the listener out of our table (pidfd_getfd) and acknowledges;
	 * we must not keep it, or closing it there would mean nothing. */
	report(R_READY, 0, 0, (u32)lis);
	struct command ack;
	if (recv(CTL, &ack, sizeof ack, 0, 0) != sizeof ack) die();
	sys1(SYS_close, lis);
	serve();
}
