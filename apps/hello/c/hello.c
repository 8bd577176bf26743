/* A proc in C: says Started, greets, says Exited. docs/PROC-ABI.md has the
 * frames; the moment at which main began goes into the result data, as ns of
 * CLOCK_MONOTONIC, for those who measure starts.
 *
 *	cc -O2 -static -o hello hello.c
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CONTROL 3

static void put32(unsigned char *p, uint32_t v) {
	for (int i = 0; i < 4; i++) p[i] = (unsigned char)(v >> (8 * i));
}

/* frame writes one request that wants no answer (id 0). */
static int frame(unsigned char type, const void *payload, uint32_t n) {
	unsigned char b[12 + 128];
	put32(b, n);
	b[4] = 1; /* version */
	b[5] = type;
	memset(b + 6, 0, 6);
	memcpy(b + 12, payload, n);
	return write(CONTROL, b, 12 + n) == (ssize_t)(12 + n) ? 0 : 1;
}

int main(int argc, char **argv) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	char text[32];
	unsigned char data[4 + 32];
	int quiet = argc > 1 && strcmp(argv[1], "-q") == 0;

	if (!quiet) {
		frame(1, "", 0); /* Started */
		printf("hello from C, pid %d\n", (int)getpid());
		fflush(stdout);
	}
	int n = snprintf(text, sizeof text, "%lld", (long long)t.tv_sec * 1000000000LL + t.tv_nsec);
	put32(data, 3 | (uint32_t)n << 8); /* field 3: data */
	memcpy(data + 4, text, (size_t)n);
	return frame(2, data, 4 + (uint32_t)n); /* Exited */
}
