/* A master that measures latency, and the bare slave it is measured against; on a pty, or the master on Modbus TCP.

   pty ask TARGET FIRST LAST ADDRESS COUNT REQUESTS SECONDS GAP_US
       reads COUNT registers of FIRST..LAST in turn, so many requests or seconds. TARGET: a path, fd:N, tcp:PORT.
       Prints for each request the ns from its writing to the first byte of its reply, -1 where none came in 1 s, and for
       each new body of the replies "@ TIME HEX". Exits 1 on a reply that is not the one asked for.
   pty bare PATH|new COUNT
       answers whatever request came with COUNT words of 7. new: opens a pty and prints its name. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static void fail(const char *what) { fprintf(stderr, "pty: %s: %s\n", what, strerror(errno)); exit(1); }

static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static unsigned crc(const unsigned char *data, int n) {
    unsigned c = 0xFFFF;
    for (int k = 0; k < n; k++) {
        c ^= data[k];
        for (int bit = 0; bit < 8; bit++) c = c & 1 ? c >> 1 ^ 0xA001 : c >> 1;
    }
    return c;
}

static int opened(const char *target) {
    int fd, on = 1;
    if (!strncmp(target, "fd:", 3)) return atoi(target + 3);
    if (!strncmp(target, "tcp:", 4)) {
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(target + 4)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(fd, (struct sockaddr *)&to, sizeof to)) fail("connect");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        return fd;
    }
    struct termios raw;
    if ((fd = open(target, O_RDWR | O_NOCTTY)) < 0 || tcgetattr(fd, &raw)) fail(target);
    cfmakeraw(&raw);
    if (tcsetattr(fd, TCSANOW, &raw)) fail(target);
    return fd;
}

/* One exchange; returns its latency, -1 without a reply. The reply, unit first, is left in `body`. */
static long long exchange(int fd, int tcp, int unit, int address, int count, unsigned char *body) {
    static int transaction;
    unsigned char out[12] = {++transaction >> 8, transaction, 0, 0, 0, 6, unit, 3, address >> 8, address, 0, count}, in[512];
    int got = 0, head = tcp ? 6 : 0, size = head + 3 + 2 * count + (tcp ? 0 : 2), length = 12;
    if (!tcp) {
        unsigned c = crc(out + 6, 6);
        memmove(out, out + 6, 6), out[6] = c, out[7] = c >> 8, length = 8;
    }
    struct pollfd p = {.fd = fd, .events = POLLIN};
    long long began = now(), first = 0;
    if (write(fd, out, length) != length) fail("write");
    while (got < size) {
        if (poll(&p, 1, 1000) <= 0) return tcflush(fd, TCIFLUSH), -1;
        if (!first) first = now();
        int n = read(fd, in + got, sizeof in - got);
        if (n <= 0) fail("read");
        got += n;
    }
    unsigned char *r = in + head;
    int wrong = got != size || r[0] != unit || r[1] != 3 || r[2] != 2 * count || (tcp && memcmp(in, out, 2));
    if (wrong || (!tcp && crc(r, size) != 0)) {
        fprintf(stderr, "pty: unit %d, function %d, %d bytes of data, %d in all, asked unit %d\n", r[0], r[1], r[2], got, unit);
        exit(1);
    }
    memcpy(body, r + 3, 2 * count);
    return first - began;
}

static int ask(char **argv) {
    static unsigned char body[256], last[256];
    int fd = opened(argv[2]), tcp = !strncmp(argv[2], "tcp:", 4), from = atoi(argv[3]), to = atoi(argv[4]);
    int address = atoi(argv[5]), count = atoi(argv[6]);
    long requests = atol(argv[7]), gap = atol(argv[9]);
    long long until = now() + (long long)(atof(argv[8]) * 1e9);
    for (int unit = from; requests-- > 0 && now() < until; unit = unit < to ? unit + 1 : from) {
        long long latency = exchange(fd, tcp, unit, address, count, body);
        printf("%lld\n", latency);
        if (from == to && latency >= 0 && memcmp(last, body, 2 * count)) {
            memcpy(last, body, 2 * count);
            printf("@ %.6f ", now() / 1e9);
            for (int k = 0; k < 2 * count; k++) printf("%02x", body[k]);
            printf("\n");
        }
        nanosleep(&(struct timespec){gap / 1000000, gap % 1000000 * 1000}, 0);
    }
    return 0;
}

static int bare(char **argv) {
    static unsigned char reply[256][512];
    int fd, count = atoi(argv[3]), size = 5 + 2 * count, got = 0;
    for (int unit = 0; unit < 256; unit++) {
        unsigned char *r = reply[unit];
        r[0] = unit, r[1] = 3, r[2] = 2 * count;
        for (int k = 0; k < count; k++) r[4 + 2 * k] = 7;
        unsigned c = crc(r, size - 2);
        r[size - 2] = c, r[size - 1] = c >> 8;
    }
    if (strcmp(argv[2], "new")) {
        fd = opened(argv[2]);
    } else {
        if ((fd = posix_openpt(O_RDWR | O_NOCTTY)) < 0 || grantpt(fd) || unlockpt(fd)) fail("pty");
        opened(ptsname(fd)); /* stays open, so that masters may come and go */
        printf("%s\n", ptsname(fd));
        fflush(stdout);
    }
    for (unsigned char request[8];;) {
        int n = read(fd, request + got, 8 - got);
        if (n <= 0) fail("read");
        if ((got += n) < 8) continue;
        got = 0;
        if (write(fd, reply[request[0]], size) != size) fail("write");
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 10 && !strcmp(argv[1], "ask")) return ask(argv);
    if (argc == 4 && !strcmp(argv[1], "bare")) return bare(argv);
    return fprintf(stderr, "pty ask TARGET FIRST LAST ADDRESS COUNT REQUESTS SECONDS GAP_US | bare PATH|new COUNT\n"), 2;
}
