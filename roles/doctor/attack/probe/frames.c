/* Frames that others wrote: each argument is NAME=HEX, sent on descriptor 3 as
 * it is; what comes back is printed with its flags and payload. 9NAME=HEX goes
 * over the connection that the last answer brought instead, as a message of 9P.
 * "stay" says Started and remains. So rows about the channel, endpoints and
 * names are data of the harness. */
#include "probe.h"

static u8 out[64 << 10], in[16 << 10];
static int conn = -1;

static int nibble(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

static long unhex(const char *s) {
	long n = 0;
	while (s[0] && s[1] && n < (long)sizeof out) out[n++] = (u8)(nibble(s[0]) << 4 | nibble(s[1])), s += 2;
	return n;
}

/* receive fills the buffer, waits 10 s at most, and keeps a descriptor. */
static long receive(int fd, u8 *to, u32 n) {
	struct { u64 clen; int level, type, fd, pad; } c;
	struct { void *base; u64 n; } v;
	struct { void *name; u32 namelen, pad; void *iov; u64 iovlen; void *control; u64 clen; long flags; } m = {0, 0, 0, &v, 1, &c, sizeof c, 0};
	for (u32 got = 0; got < n;) {
		struct { int fd; short events, revents; } p = {fd, 1, 0};
		struct { long sec, nsec; } wait = {10, 0};
		long k = sys(SYS_ppoll, &p, 1, &wait, 0, 8);
		if (k == 0) return -110;
		v.base = to + got, v.n = n - got;
		c.clen = 0, m.clen = sizeof c;
		k = sys(SYS_recvmsg, fd, &m, 0);
		if (k <= 0) return k < 0 ? k : -32;
		if (c.clen >= 20 && c.level == 1 && c.type == 1) conn = c.fd;
		got += (u32)k;
	}
	return 0;
}

static long deliver(int fd, long n) {
	for (long off = 0, k; off < n; off += k)
		if ((k = sys(SYS_sendto, fd, out + off, n - off, 0x4000, 0, 0)) <= 0) return k < 0 ? k : -32; /* MSG_NOSIGNAL */
	return 0;
}

/* rest reads a body and prints as much of it as a line holds. */
static void rest(int fd, const char *name, long r, u32 n) {
	u32 keep = n < 1024 ? n : 1024;
	long err = receive(fd, in, keep);
	for (u32 left = n - keep; !err && left;) {
		u32 k = left < sizeof in - 1024 ? left : sizeof in - 1024;
		err = receive(fd, in + 1024, k);
		left -= k;
	}
	if (err)
		say(name, err);
	else
		tell(name, r, (char *)in, keep);
}

static void talk(const char *name, long n) {
	u32 size;
	long err = deliver(conn, n);
	if (!err) err = receive(conn, in, 5);
	if (err) {
		say(name, err);
		return;
	}
	memcpy(&size, in, 4);
	rest(conn, name, in[4], size > 5 ? size - 5 : 0);
}

static void ask_raw(const char *name, long n) {
	u32 size;
	long err = deliver(3, n);
	if (!err) err = receive(3, in, 12);
	if (err) {
		say(name, err);
		return;
	}
	memcpy(&size, in, 4);
	rest(3, name, in[6] | in[7] << 8, size);
}

static void frames(void) {
	for (int i = 0; i < nargs; i++) {
		static char name[128];
		char *a = args[i];
		int k = 0, nine = a[0] == '9';
		if (same(a, "stay")) {
			started();
			pause_for_ever();
		}
		for (a += nine; *a && *a != '='; a++)
			if (k < 127) name[k++] = *a;
		name[k] = 0;
		long n = unhex(*a ? a + 1 : a);
		if (nine)
			talk(name, n);
		else
			ask_raw(name, n);
	}
}

const struct probe frames_rows[] = {{"frames", frames}, {0, 0}};
