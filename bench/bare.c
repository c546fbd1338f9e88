/* The limit of this machine: a server that answers anything with the same reply, and does nothing else.

   bare PORT COUNT          replies as to a read of COUNT registers; 0: of as many as were asked for */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static void watch(int poll, int fd) {
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(poll, EPOLL_CTL_ADD, fd, &e);
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    int port = socket(AF_INET, SOCK_STREAM, 0), on = 1, poll = epoll_create1(0), count = atoi(argv[2]);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(port, (struct sockaddr *)&at, sizeof at) || listen(port, 64)) return 1;
    watch(poll, port);
    for (;;) {
        static unsigned char frame[512];
        struct epoll_event ready[64];
        int n = epoll_wait(poll, ready, 64, -1);
        for (int k = 0; k < n; k++) {
            int fd = ready[k].data.fd;
            if (fd == port) {
                fd = accept(port, 0, 0);
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                watch(poll, fd);
            } else if (read(fd, frame, 260) <= 0) {
                close(fd);
            } else {
                if (atoi(argv[2]) == 0) count = frame[11];
                frame[4] = 0, frame[5] = 3 + 2 * count, frame[8] = 2 * count;
                if (write(fd, frame, 9 + 2 * count) < 0) close(fd);
            }
        }
    }
}
