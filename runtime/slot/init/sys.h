/* System calls without a libc, amd64 and arm64. Constants are the kernel's. */
#ifndef SYS_H
#define SYS_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;
typedef int i32;
typedef long i64;

#if defined(__x86_64__)
enum {
	SYS_write = 1, SYS_rt_sigaction = 13, SYS_rt_sigprocmask = 14, SYS_close = 3, SYS_mmap = 9, SYS_recvmsg = 47, SYS_clone = 56, SYS_exit = 60,
	SYS_wait4 = 61, SYS_kill = 62, SYS_fcntl = 72, SYS_chdir = 80, SYS_setgroups = 116,
	SYS_setresuid = 117, SYS_setresgid = 119, SYS_capset = 126, SYS_pivot_root = 155,
	SYS_prctl = 157, SYS_mount = 165, SYS_umount2 = 166, SYS_sethostname = 170,
	SYS_clock_gettime = 228, SYS_exit_group = 231, SYS_openat = 257, SYS_unshare = 272,
	SYS_prlimit64 = 302, SYS_setns = 308, SYS_seccomp = 317, SYS_execveat = 322,
	SYS_close_range = 436, SYS_landlock_create_ruleset = 444, SYS_landlock_add_rule = 445,
	SYS_landlock_restrict_self = 446,
};
static inline i64 sys6(i64 n, i64 a, i64 b, i64 c, i64 d, i64 e, i64 f) {
	i64 r;
	register i64 r10 __asm__("r10") = d;
	register i64 r8 __asm__("r8") = e;
	register i64 r9 __asm__("r9") = f;
	__asm__ volatile("syscall"
		: "=a"(r)
		: "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
		: "rcx", "r11", "memory");
	return r;
}
#elif defined(__aarch64__)
enum {
	SYS_rt_sigaction = 134, SYS_rt_sigprocmask = 135, SYS_write = 64, SYS_close = 57, SYS_mmap = 222, SYS_recvmsg = 212, SYS_clone = 220,
	SYS_exit = 93, SYS_wait4 = 260, SYS_kill = 129, SYS_fcntl = 25, SYS_chdir = 49,
	SYS_setgroups = 159, SYS_setresuid = 147, SYS_setresgid = 149, SYS_capset = 91,
	SYS_pivot_root = 41, SYS_prctl = 167, SYS_mount = 40, SYS_umount2 = 39,
	SYS_sethostname = 161, SYS_clock_gettime = 113, SYS_exit_group = 94, SYS_openat = 56,
	SYS_unshare = 97, SYS_prlimit64 = 261, SYS_setns = 268, SYS_seccomp = 277,
	SYS_execveat = 281, SYS_close_range = 436, SYS_landlock_create_ruleset = 444, SYS_landlock_add_rule = 445,
	SYS_landlock_restrict_self = 446,
};
static inline i64 sys6(i64 n, i64 a, i64 b, i64 c, i64 d, i64 e, i64 f) {
	register i64 x8 __asm__("x8") = n;
	register i64 x0 __asm__("x0") = a;
	register i64 x1 __asm__("x1") = b;
	register i64 x2 __asm__("x2") = c;
	register i64 x3 __asm__("x3") = d;
	register i64 x4 __asm__("x4") = e;
	register i64 x5 __asm__("x5") = f;
	__asm__ volatile("svc 0"
		: "+r"(x0)
		: "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
		: "memory");
	return x0;
}
#else
#error "amd64 and arm64 only"
#endif

#define sys0(n) sys6(n, 0, 0, 0, 0, 0, 0)
#define sys1(n, a) sys6(n, (i64)(a), 0, 0, 0, 0, 0)
#define sys2(n, a, b) sys6(n, (i64)(a), (i64)(b), 0, 0, 0, 0)
#define sys3(n, a, b, c) sys6(n, (i64)(a), (i64)(b), (i64)(c), 0, 0, 0)
#define sys4(n, a, b, c, d) sys6(n, (i64)(a), (i64)(b), (i64)(c), (i64)(d), 0, 0)
#define sys5(n, a, b, c, d, e) sys6(n, (i64)(a), (i64)(b), (i64)(c), (i64)(d), (i64)(e), 0)

#define EINTR 4
#define ECHILD 10
#define EPROTO 71

#define SIGKILL 9
#define WNOHANG 1
#define WALL 0x40000000
#define SIGCHLD 17

#define AT_FDCWD (-100)
#define AT_EMPTY_PATH 0x1000
#define O_RDONLY 0
#define O_WRONLY 1
#define O_CLOEXEC 02000000
#define O_PATH 010000000

#define F_SETFD 2
#define F_SETFL 4
#define F_DUPFD_CLOEXEC 1030

#define CLONE_VM 0x100
#define CLONE_FS 0x200
#define CLONE_FILES 0x400
#define CLONE_SIGHAND 0x800
#define CLONE_THREAD 0x10000
#define CLONE_SYSVSEM 0x40000
#define CLONE_PARENT_SETTID 0x100000
#define CLONE_UNTRACED 0x800000
#define CLONE_NEWNS 0x20000
#define CLONE_NEWCGROUP 0x2000000

#define MS_RDONLY 1
#define MS_NOSUID 2
#define MS_NODEV 4
#define MS_NOEXEC 8
#define MS_REMOUNT 32
#define MS_BIND 4096
#define MS_REC 16384
#define MS_PRIVATE (1 << 18)
#define MNT_DETACH 2

#define PROT_RW 3
#define MAP_SHARED 1

#define PR_SET_DUMPABLE 4
#define PR_SET_NAME 15
#define PR_CAPBSET_DROP 24
#define PR_SET_SECUREBITS 28
#define PR_SET_NO_NEW_PRIVS 38
#define PR_CAP_AMBIENT 47
#define PR_CAP_AMBIENT_CLEAR_ALL 4

#define SECCOMP_SET_MODE_FILTER 1
#define SECCOMP_FILTER_FLAG_NEW_LISTENER 8

#define MSG_CMSG_CLOEXEC 0x40000000
#define MSG_TRUNC 0x20
#define MSG_CTRUNC 8

#define RLIMIT_FSIZE 1
#define RLIMIT_CORE 4
#define RLIMIT_NOFILE 7
#define RLIMIT_MEMLOCK 8
#define RLIMIT_MSGQUEUE 12
#define RLIMIT_NICE 13
#define RLIMIT_RTPRIO 14

struct iovec { void *base; u64 len; };
struct msghdr {
	void *name; u32 namelen; u32 pad0;
	struct iovec *iov; u64 iovlen;
	void *control; u64 controllen;
	i32 flags; i32 pad1;
};
struct cmsghdr { u64 len; i32 level; i32 type; };
struct rlimit64 { u64 cur; u64 max; };
struct timespec { i64 sec; i64 nsec; };
struct rusage { i64 utime[2]; i64 stime[2]; i64 maxrss; i64 rest[13]; };
struct sock_fprog { u16 len; void *filter; };

/* clone_on starts fn on its own stack in the same memory; returns the pid or
 * -errno. fn never returns. key goes into the call's unused sixth argument. */
i64 clone_on(u64 flags, void *stack_top, i32 *pid, void (*fn)(void), u64 key);

#if defined(__x86_64__)
__asm__(
	".text\n.globl clone_on\nclone_on:\n"
	"  sub $16, %rsi\n"
	"  mov %rcx, (%rsi)\n"    /* fn */
	"  mov %r8, %r9\n"
	"  mov $56, %eax\n"
	"  xor %r10d, %r10d\n"
	"  xor %r8d, %r8d\n"
	"  syscall\n"
	"  test %rax, %rax\n"
	"  jnz 1f\n"
	"  xor %ebp, %ebp\n"
	"  pop %rax\n"
	"  and $-16, %rsp\n"
	"  call *%rax\n"
	"  hlt\n"
	"1: ret\n"
	".globl _start\n_start:\n"
	"  xor %ebp, %ebp\n"
	"  and $-16, %rsp\n"
	"  call init_main\n"
	"  hlt\n");
#else
__asm__(
	".text\n.globl clone_on\nclone_on:\n"
	"  sub x1, x1, #16\n"
	"  str x3, [x1]\n"        /* fn */
	"  mov x5, x4\n"
	"  mov x8, #220\n"
	"  mov x3, #0\n"
	"  mov x4, #0\n"
	"  svc #0\n"
	"  cbnz x0, 1f\n"
	"  mov x29, #0\n"
	"  ldr x9, [sp]\n"
	"  blr x9\n"
	"  brk #0\n"
	"1: ret\n"
	".globl _start\n_start:\n"
	"  mov x29, #0\n"
	"  bl init_main\n"
	"  brk #0\n");
#endif

#endif
