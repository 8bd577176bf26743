/* What the files of the probe share: raw system calls, and a line of JSON for
 * each attempt. There is no libc; its headers give numbers only. */
#ifndef PROBE_H
#define PROBE_H
#include <sys/syscall.h>

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long u64;

#if defined(__x86_64__)
static inline long sys6(long n, long a, long b, long c, long d, long e, long f) {
	long r;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	__asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
	return r;
}
#elif defined(__aarch64__)
static inline long sys6(long n, long a, long b, long c, long d, long e, long f) {
	register long x8 __asm__("x8") = n;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
	return x0;
}
#else
#error "amd64 and arm64 only"
#endif

/* sys takes one to seven arguments and fills up with zeros. */
#define sys_(n, a, b, c, d, e, f, ...) sys6((long)(n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define sys(...) sys_(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

/* Numbers that the headers of an old libc do not have; all since 5.1 are the
 * same on every architecture. */
enum {
	nr_pidfd_send_signal = 424, nr_io_uring_setup = 425, nr_io_uring_enter = 426, nr_io_uring_register = 427, nr_open_tree = 428,
	nr_move_mount = 429, nr_fsopen = 430, nr_fsconfig = 431, nr_fsmount = 432, nr_fspick = 433, nr_pidfd_open = 434, nr_clone3 = 435,
	nr_close_range = 436, nr_openat2 = 437, nr_pidfd_getfd = 438, nr_faccessat2 = 439, nr_process_madvise = 440, nr_epoll_pwait2 = 441,
	nr_mount_setattr = 442, nr_quotactl_fd = 443, nr_landlock_create_ruleset = 444, nr_landlock_add_rule = 445, nr_landlock_restrict_self = 446,
	nr_memfd_secret = 447, nr_process_mrelease = 448, nr_futex_waitv = 449, nr_set_mempolicy_home_node = 450, nr_cachestat = 451,
	nr_fchmodat2 = 452, nr_map_shadow_stack = 453, nr_statmount = 457, nr_listmount = 458, nr_lsm_set_self_attr = 460, nr_mseal = 462,
	nr_setxattrat = 463, nr_open_tree_attr = 467, nr_file_setattr = 469,
};

#define AT_FDCWD (-100)
#define O_WRONLY 1
#define O_RDWR 2
#define O_CREAT 0100
#define O_TRUNC 01000
#define O_NONBLOCK 04000
#if defined(__x86_64__)
#define O_DIRECTORY 0200000
#define O_TMPFILE 020200000
#else
#define O_DIRECTORY 040000
#define O_TMPFILE 020040000
#endif
#define O_PATH 010000000

/* The row that runs and its arguments, behind argv[1]. */
extern const char *row;
extern char **args;
extern int nargs;
extern u64 entry[16]; /* the registers at the first instruction */
extern long said;      /* lines printed so far */
extern char entry_status[4096]; /* /proc/self/status, read as the first thing */

/* say prints one attempt and what came back; tell adds a text. */
void say(const char *try, long r);
void tell(const char *try, long r, const char *text, long len);
/* sayargs prints a call with its arguments. */
void sayargs(long nr, const long a[6], long r);
/* saynum is say with a number behind the name. */
void saynum(const char *try, long n, long r);

void *memcpy(void *d, const void *s, u64 n);
void *memset(void *d, int c, u64 n);
u64 len(const char *s);
int same(const char *a, const char *b);
long number(const char *s);
char *join(char *buf, const char *a, const char *b); /* into buf; returns it */
long openr(const char *path);                        /* read-only, or -errno */
long slurp(const char *path, char *buf, long max);
void leave(int code) __attribute__((noreturn));
void pause_for_ever(void) __attribute__((noreturn));
void started(void); /* tells sigmad that we are ready */
/* thread starts fn on a stack of its own with exactly a thread's flags. */
long thread(void (*fn)(void));
/* ask sends a frame on descriptor 3 and returns the flags of the answer. */
long ask(int type, const void *payload, u32 n);

struct probe {
	const char *row;
	void (*run)(void);
};
extern const struct probe calls[], args_rows[], files[], bombs[], frames_rows[];
#endif
