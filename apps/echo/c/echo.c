/* A proc in C that listens: it makes an endpoint, prints it, accepts one
 * connection, sends back what comes, and says Exited with the number of bytes.
 * docs/PROC-ABI.md has the frames; docs/ENDPOINTS.md says what an endpoint is.
 *
 *	cc -O2 -static -o echo echo.c
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONTROL 3

enum { STARTED = 1, EXITED = 2, NEW_ENDPOINT = 16, ACCEPT = 17 };
enum { REPLY = 1, ERROR = 2, HAS_FD = 8 };

struct frame {
	unsigned char type;
	unsigned flags;
	uint32_t id, len;
	unsigned char payload[4096];
	int fd; /* that came with it; -1 is none */
};

static void put32(unsigned char *p, uint32_t v) {
	for (int i = 0; i < 4; i++) p[i] = (unsigned char)(v >> (8 * i));
}

static uint32_t get32(const unsigned char *p) {
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

/* put writes all of a buffer. */
static int put(int fd, const void *buf, size_t n) {
	for (const char *p = buf; n > 0;) {
		ssize_t k = write(fd, p, n);
		if (k <= 0) return -1;
		p += k;
		n -= (size_t)k;
	}
	return 0;
}

/* request asks for something; id 0 wants no answer. */
static int request(unsigned char type, uint32_t id, const void *payload, uint32_t n) {
	unsigned char b[12 + 256];
	if (n > 256) return -1;
	put32(b, n);
	b[4] = 1; /* version */
	b[5] = type;
	b[6] = b[7] = 0;
	put32(b + 8, id);
	memcpy(b + 12, payload, n);
	return put(CONTROL, b, 12 + n);
}

/* take reads exactly n bytes of the channel. A descriptor comes with the first
 * byte of its frame: whoever read that byte with read() would lose it. */
static int take(unsigned char *b, size_t n, int *fd) {
	while (n > 0) {
		union { struct cmsghdr h; char room[CMSG_SPACE(sizeof(int))]; } c;
		struct iovec v = {b, n};
		struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c};
		ssize_t k = recvmsg(CONTROL, &m, MSG_CMSG_CLOEXEC);
		if (k <= 0) return -1;
		struct cmsghdr *h = CMSG_FIRSTHDR(&m);
		if (h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS && h->cmsg_len == CMSG_LEN(sizeof(int)))
			memcpy(fd, CMSG_DATA(h), sizeof(int));
		b += k;
		n -= (size_t)k;
	}
	return 0;
}

/* answer reads the next frame. */
static int answer(struct frame *f) {
	unsigned char h[12];
	f->fd = -1;
	if (take(h, sizeof h, &f->fd)) return -1;
	f->len = get32(h);
	f->type = h[5];
	f->flags = h[6] | (unsigned)h[7] << 8;
	f->id = get32(h + 8);
	if (h[4] != 1 || f->len > sizeof f->payload) return -1;
	return take(f->payload, f->len, &f->fd);
}

/* field finds one field of a payload. */
static const unsigned char *field(const struct frame *f, unsigned tag, uint32_t *len) {
	for (uint32_t at = 0; at + 4 <= f->len;) {
		uint32_t head = get32(f->payload + at), n = head >> 8;
		at += 4;
		if (n > f->len - at) break;
		if ((head & 255) == tag) {
			*len = n;
			return f->payload + at;
		}
		at += n;
	}
	*len = 0;
	return (const unsigned char *)"";
}

/* ask waits for the one answer to a request; nothing else is under way. */
static int ask(unsigned char type, const void *payload, uint32_t n, struct frame *f) {
	if (request(type, 1, payload, n) || answer(f) || f->id != 1) return -1;
	if (f->flags & ERROR) {
		uint32_t len;
		const unsigned char *text = field(f, 4, &len);
		fprintf(stderr, "echo: %.*s\n", (int)len, text);
		return -1;
	}
	return 0;
}

int main(void) {
	static struct frame ep, conn;
	uint32_t len;

	if (ask(NEW_ENDPOINT, "", 0, &ep)) return 1;
	const unsigned char *token = field(&ep, 1, &len);
	printf("%.*s\n", (int)len, token);
	fflush(stdout);
	request(STARTED, 0, "", 0);

	/* Accept takes what NewEndpoint gave: field 1, the token. */
	if (ask(ACCEPT, ep.payload, ep.len, &conn)) return 1;
	if (!(conn.flags & HAS_FD) || conn.fd < 0) {
		fprintf(stderr, "echo: the connection's descriptor did not arrive\n");
		return 1;
	}
	const unsigned char *peer = field(&conn, 2, &len);
	fprintf(stderr, "connection from %.*s\n", (int)len, peer);

	fcntl(conn.fd, F_SETFL, 0); /* it is non-blocking; we want to wait */
	static char buf[65536];
	long total = 0;
	for (ssize_t k; (k = read(conn.fd, buf, sizeof buf)) > 0; total += k)
		if (put(conn.fd, buf, (size_t)k)) break;
	close(conn.fd);

	unsigned char data[4 + 32];
	int n = snprintf((char *)data + 4, 32, "%ld", total);
	put32(data, 3 | (uint32_t)n << 8); /* field 3: data */
	return request(EXITED, 0, data, 4 + (uint32_t)n) ? 1 : 0;
}
