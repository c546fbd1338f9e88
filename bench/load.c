/* A load for Modbus TCP servers: N connections, each with one request under way, for so many requests in all.

   load PORT CONNECTIONS REQUESTS UNIT ADDRESS COUNT [SECONDS]
   Prints: seconds, requests answered; then for each new body of the replies, over all connections: monotonic time, hex.
   Exits 1 on a reply that is not the one asked for. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST 1024
#define MOMENTS 2000
static struct { int fd, got, transaction; } line[MOST];
static unsigned char request[12] = {0, 0, 0, 0, 0, 6, 0, 3};
static int size, moments;
static struct { double at; unsigned char body[256]; } moment[MOMENTS];

static void fail(const char *what) { fprintf(stderr, "load: %s: %s\n", what, strerror(errno)); exit(1); }

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void ask(int k) {
    line[k].transaction = (line[k].transaction + 1) & 0xFFFF;
    line[k].got = 0;
    request[0] = line[k].transaction >> 8, request[1] = line[k].transaction & 0xFF;
    if (write(line[k].fd, request, sizeof request) != sizeof request) fail("write");
}

/* Keep a body that is not the last one seen, nor the one before it: replies of two connections may overtake each other. */
static void look(const unsigned char *body) {
    for (int k = moments - 1; k >= 0 && k >= moments - 2; k--)
        if (!memcmp(moment[k].body, body, size - 9)) return;
    if (moments == MOMENTS) fprintf(stderr, "load: the replies do not agree\n"), exit(1);
    moment[moments].at = now();
    memcpy(moment[moments++].body, body, size - 9);
}

/* Take what has come on a line; tell whether the reply is whole. */
static int take(int k) {
    static unsigned char reply[MOST][512];
    int n = read(line[k].fd, reply[k] + line[k].got, size - line[k].got);
    if (n <= 0) fail("read");
    if ((line[k].got += n) < size) return 0;
    unsigned char *r = reply[k];
    if ((r[0] << 8 | r[1]) != line[k].transaction || r[6] != request[6] || r[7] != 3 || r[8] != size - 9) {
        fprintf(stderr, "load: reply of function %d, %d bytes, to transaction %d\n", r[7], r[8], line[k].transaction);
        exit(1);
    }
    look(r + 9);
    return 1;
}

int main(int argc, char **argv) {
    if (argc != 7 && argc != 8) return fprintf(stderr, "load PORT CONNECTIONS REQUESTS UNIT ADDRESS COUNT [SECONDS]\n"), 2;
    int connections = atoi(argv[2]), address = atoi(argv[5]), count = atoi(argv[6]), on = 1, poll = epoll_create1(0);
    long wanted = atol(argv[3]), asked = 0, answered = 0;
    if (connections < 1 || connections > MOST) return 2;
    request[6] = atoi(argv[4]);
    request[8] = address >> 8, request[9] = address & 0xFF, request[11] = count;
    size = 9 + 2 * count;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (int k = 0; k < connections; k++) {
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = k};
        line[k].fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(line[k].fd, (struct sockaddr *)&to, sizeof to)) fail("connect");
        setsockopt(line[k].fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        epoll_ctl(poll, EPOLL_CTL_ADD, line[k].fd, &e);
    }
    double began = now(), until = argc == 8 ? began + atof(argv[7]) : 0;
    for (int k = 0; k < connections && asked < wanted; k++, asked++) ask(k);
    while (answered < wanted) {
        struct epoll_event ready[MOST];
        int n = epoll_wait(poll, ready, MOST, 10000);
        if (n <= 0) fail("no reply in 10 s");
        for (int j = 0; j < n; j++)
            if (take(ready[j].data.u32)) {
                answered++;
                if (asked < wanted) ask(ready[j].data.u32), asked++;
            }
        if (until && now() > until) wanted = asked;
    }
    printf("%.6f %ld\n", now() - began, answered);
    for (int k = 0; k < moments; k++) {
        printf("%.6f ", moment[k].at);
        for (int byte = 0; byte < size - 9; byte++) printf("%02x", moment[k].body[byte]);
        printf("\n");
    }
    return 0;
}
