/* A slave on libmodbus, as small as its own examples: the peer of the bench of the line.

   libmodbus tcp PORT UNIT          a poll loop over its connections
   libmodbus rtu PATH UNIT
   It has the registers 26368..50575, each 7. */
#include <errno.h>
#include <modbus.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FIRST 26368
#define LAST 50575
#define MOST 64

static void fail(const char *what) { fprintf(stderr, "libmodbus: %s: %s\n", what, modbus_strerror(errno)); exit(1); }

static void serve_tcp(modbus_t *m, modbus_mapping_t *map) {
    static struct pollfd at[MOST];
    uint8_t request[MODBUS_TCP_MAX_ADU_LENGTH];
    int on = 1, many = 1;
    if ((at[0].fd = modbus_tcp_listen(m, MOST)) < 0) fail("listen");
    at[0].events = POLLIN;
    for (;;) {
        if (poll(at, many, -1) < 0) fail("poll");
        for (int k = many - 1; k > 0; k--) {
            if (!at[k].revents) continue;
            modbus_set_socket(m, at[k].fd);
            int n = modbus_receive(m, request);
            if (n < 0) close(at[k].fd), at[k] = at[--many];
            else if (n > 0) modbus_reply(m, request, n, map);
        }
        if (at[0].revents) {
            int fd = accept(at[0].fd, 0, 0);
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            if (fd >= 0 && many == MOST) close(fd);
            else if (fd >= 0) at[many++] = (struct pollfd){.fd = fd, .events = POLLIN};
        }
    }
}

static void serve_rtu(modbus_t *m, modbus_mapping_t *map) {
    uint8_t request[MODBUS_RTU_MAX_ADU_LENGTH];
    if (modbus_connect(m)) fail("connect");
    for (;;) {
        int n = modbus_receive(m, request);
        if (n > 0) modbus_reply(m, request, n, map);
    }
}

int main(int argc, char **argv) {
    if (argc != 4) return fprintf(stderr, "libmodbus tcp PORT UNIT | rtu PATH UNIT\n"), 2;
    int tcp = !strcmp(argv[1], "tcp");
    modbus_t *m = tcp ? modbus_new_tcp("127.0.0.1", atoi(argv[2])) : modbus_new_rtu(argv[2], 38400, 'N', 8, 1);
    modbus_mapping_t *map = modbus_mapping_new_start_address(0, 0, 0, 0, FIRST, LAST - FIRST + 1, 0, 0);
    if (!m || !map || modbus_set_slave(m, atoi(argv[3]))) fail("new");
    for (int k = 0; k <= LAST - FIRST; k++) map->tab_registers[k] = 7;
    (tcp ? serve_tcp : serve_rtu)(m, map);
    return 0;
}
