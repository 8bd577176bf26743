/* What sigmad and a slot's PID 1 say to each other: records on two
 * SOCK_SEQPACKET sockets, little-endian, no padding that matters. The Go side
 * is slot/proto.go; both begin with PROTO_VERSION and must change together. */
#ifndef PROTO_H
#define PROTO_H
#include "sys.h"

#define PROTO_VERSION 1

/* Control socket, sigmad to init, once, with descriptors: mount namespace of
 * binfs, board. Followed by the filter (8 bytes an instruction), then by the NUL-terminated paths of binfs' realm folder and of the
 * jail template inside that namespace, and the AppArmor profile ("" is none). */
struct config {
	u32 version;
	u32 uid;          /* and gid */
	u32 exec_fd;      /* the only descriptor number that can be exec'ed */
	u32 filter;       /* instructions */
	u32 ll_size;      /* bytes of landlock_ruleset_attr this kernel knows; 0 is no Landlock */
	u32 pad;
	u64 key;          /* the filter lets clone, wait4, kill and execveat pass with it alone */
	u64 ll_fs, ll_net, ll_scoped;
};

/* Control socket, sigmad to init: a signal for the proc that has this number.
 * seq 0 acknowledges READY. */
struct command { u32 seq; u32 signal; };

/* Control socket, init to sigmad. */
enum { R_READY = 1, R_EXIT = 2, R_FAILED = 3 };
struct report {
	u32 kind;
	u32 seq;
	u32 stage;  /* of the failure, see enum stage */
	u32 error;  /* errno; 0: the proc was exec'ed */
	u32 status; /* as wait4 gives it; READY: the listener's descriptor */
	u32 pad;
	u64 utime_us, stime_us, maxrss_kb;
	u64 taken, exec; /* CLOCK_MONOTONIC ns */
};

/* Start socket, sigmad to the waiting child, with the proc's descriptor 3.
 * Followed by the program's name in /mnt/binfs, args (argc) and env (envc), each
 * NUL-terminated. */
struct start { u32 seq; u32 nofile; u32 argc; u32 envc; };

/* A page shared with sigmad: the stamps of the proc that runs now. */
struct board { u32 seq; u32 pad; u64 taken, exec; };

enum stage {
	S_CONFIG = 1, S_SETNS, S_UNSHARE, S_JAIL, S_BINFS, S_PROC, S_PIVOT, S_HOST, S_RLIMIT,
	S_APPARMOR, S_CAPS, S_UID, S_NNP, S_LANDLOCK, S_OUTER, S_BOARD,
	S_FORK = 32, S_RECV = 34, S_OPEN, S_MOVE, S_LIMIT, S_EXEC,
};
#endif
