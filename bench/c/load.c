// A load generator: load PORT PATH CONNECTIONS SECONDS RATE STREAM [HEADER...]
//
// One thread, epoll, HTTP/1.1 with keep-alive to 127.0.0.1. RATE 0 is a closed loop: every connection asks again as
// soon as it is answered. Any other RATE is an open loop of so many requests a second, timed from when each was due, so
// that waiting for a free connection counts as latency. STREAM is 0 or 1. The model is $LOAD_MODEL, or gpt-4o-mini.
// After one second of warm-up SECONDS are measured; then what is under way is awaited (up to 10 s), so that at the end
// every request sent has either been answered or is reported. Prints one line of JSON:
//   rps n p50_us p90_us p99_us max_us ttft50_us ttft99_us chunks_s    the measured window
//   errs bad missed                                                  broken connections, non-200 replies, arrivals given up
//   answers pending                                                  whole 200 replies in all; requests never answered
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_SAMPLES 4000000
#define WARM_UP_S 1.0
#define DRAIN_NS 10000000000LL    // how long what is under way at the end is awaited
#define GIVE_UP_NS 2000000000LL   // an arrival that waited so long for a free connection is counted as missed
#define MAX_SLEEP_NS 10000000LL
#define LAST_CHUNK "\r\n0\r\n\r\n"

typedef long long ns;

typedef struct {
  int fd, open, busy;
  char buf[65536];      // the head while it arrives, then whatever came last
  int len;
  ns asked, first;      // when the request was due; when the first content came
  int head_done, status, chunked, close_after;
  long content_length, got;
  char tail[8];         // the last bytes of a chunked body, to see its end
  int tail_len;
  int events;
} conn;

static int port, poll_fd, streaming, connections;
static char request[8192];
static int request_len;
static conn *conns;
static ns *latency, *first_byte;
static long samples, errors, bad, chunks, answers;
static ns warm_end, measure_end;

static ns now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int by_size(const void *a, const void *b) {
  ns x = *(const ns *)a, y = *(const ns *)b;
  return x < y ? -1 : x > y;
}

static void hang_up(conn *c) {
  if (c->open) close(c->fd);
  c->open = 0;
}

static int dial(conn *c) {
  hang_up(c);
  int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  if (connect(fd, (void *)&address, sizeof address)) {
    close(fd);
    return -1;
  }
  fcntl(fd, F_SETFL, O_NONBLOCK);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  c->fd = fd;
  c->open = 1;
  struct epoll_event watch = {.events = EPOLLIN, .data.ptr = c};
  epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &watch);
  return 0;
}

static void ask(conn *c, ns due) {
  if (!c->open && dial(c)) {
    errors++;
    return;
  }
  c->busy = 1;
  c->asked = due;
  c->first = 0;
  c->head_done = c->len = c->chunked = c->close_after = c->tail_len = c->events = 0;
  c->got = 0;
  c->content_length = -1;
  if (send(c->fd, request, request_len, MSG_NOSIGNAL) != request_len) {
    errors++;
    dial(c);
    c->busy = 0;
  }
}

static int count_events(const char *bytes, int len) {
  int found = 0;
  const char *p = bytes, *end = bytes + len;
  while ((p = memmem(p, end - p, "data: {", 7))) {
    found++;
    p += 7;
  }
  return found;
}

static void finish(conn *c, ns t) {
  c->busy = 0;
  if (c->status == 200) answers++;
  if (c->status != 200) bad++;
  if (t > warm_end && t <= measure_end) {
    if (c->status == 200 && samples < MAX_SAMPLES) {
      latency[samples] = t - c->asked;
      first_byte[samples] = c->first ? c->first - c->asked : 0;
      samples++;
    }
    chunks += c->events;
  }
  if (c->close_after) hang_up(c);
}

static void read_head(conn *c, const char *blank) {
  c->head_done = 1;
  c->status = atoi(c->buf + 9);
  for (const char *p = c->buf; p < blank;) {
    const char *eol = memchr(p, '\n', blank + 2 - p);
    if (!eol) break;
    if (!strncasecmp(p, "content-length:", 15)) c->content_length = atol(p + 15);
    if (!strncasecmp(p, "transfer-encoding: chunked", 26)) c->chunked = 1;
    if (!strncasecmp(p, "connection: close", 17)) c->close_after = 1;
    p = eol + 1;
  }
  if (c->status != 200 && bad < 1) fprintf(stderr, "BAD: %.400s\n", c->buf);
}

static void keep_tail(conn *c, const char *bytes, int len) {
  int fresh = len < 7 ? len : 7, old = 0;
  char joined[16];
  if (len < 7) {
    old = 7 - len;
    if (old > c->tail_len) old = c->tail_len;
    memcpy(joined, c->tail + c->tail_len - old, old);
  }
  memcpy(joined + old, bytes + len - fresh, fresh);
  c->tail_len = old + fresh;
  memcpy(c->tail, joined, c->tail_len);
}

static int is_whole(const conn *c) {
  if (c->chunked) return c->tail_len >= 7 && !memcmp(c->tail + c->tail_len - 7, LAST_CHUNK, 7);
  return c->content_length >= 0 && c->got >= c->content_length;
}

// Take what has arrived on one connection; return whether its answer is whole now.
static int take(conn *c, int received, ns t) {
  char *body = c->buf + c->len;
  int body_len = received;
  if (!c->head_done) {
    c->len += received;
    c->buf[c->len] = 0;
    char *blank = memmem(c->buf, c->len, "\r\n\r\n", 4);
    if (!blank) return 0;
    read_head(c, blank);
    body = blank + 4;
    body_len = c->buf + c->len - body;
  }
  if (body_len > 0) {
    if (streaming) {
      int found = count_events(body, body_len);
      if (found && !c->first) c->first = t;
      c->events += found;
    } else if (!c->first) {
      c->first = t;
    }
    c->got += body_len;
    if (c->chunked) keep_tail(c, body, body_len);
  }
  c->len = 0;
  return is_whole(c);
}

static void lost(conn *c, int closed_loop) {
  if (c->busy) {
    int body_ends_at_close = c->head_done && !c->chunked && c->content_length < 0;
    if (body_ends_at_close) {
      finish(c, now());
    } else {
      errors++;
      c->busy = 0;
    }
  }
  hang_up(c);
  if (closed_loop && now() < measure_end) ask(c, now());
}

static void make_request(int argc, char **argv) {
  const char *model = getenv("LOAD_MODEL") ? getenv("LOAD_MODEL") : "gpt-4o-mini";
  const char *stream = streaming ? ",\"stream\":true,\"stream_options\":{\"include_usage\":true}" : "";
  char body[2048];
  snprintf(body, sizeof body,
           "{\"model\":\"%s\",\"messages\":[{\"role\":\"system\",\"content\":\"You are a careful assistant of a travel "
           "agency. Answer in at most two sentences, name the country, and never invent a place that does not exist. If "
           "you do not know the answer, say so plainly.\"},{\"role\":\"user\",\"content\":\"What is the capital of "
           "France, and on which river does it lie?\"}],\"temperature\":0.2,\"max_tokens\":64,\"user\":\"u-1234\"%s}",
           model, stream);
  int o = snprintf(request, sizeof request,
                   "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
                   "Authorization: Bearer sk-test-1234\r\nUser-Agent: load\r\nAccept: */*\r\n",
                   argv[2], port);
  for (int i = 7; i < argc; i++) o += snprintf(request + o, sizeof request - o, "%s\r\n", argv[i]);
  o += snprintf(request + o, sizeof request - o, "Content-Length: %d\r\n\r\n%s", (int)strlen(body), body);
  request_len = o;
}

static conn *free_conn(void) {
  static int turn = 0;
  for (int j = 0; j < connections; j++) {
    int i = (turn + j) % connections;
    if (!conns[i].busy) {
      turn = i + 1;
      return &conns[i];
    }
  }
  return NULL;
}

static int any_busy(void) {
  for (int i = 0; i < connections; i++)
    if (conns[i].busy) return 1;
  return 0;
}

static double quantile_us(const ns *sorted, double q) {
  return samples ? sorted[(long)((samples - 1) * q)] / 1e3 : 0;
}

static void report(double seconds, long missed) {
  long pending = 0;
  for (int i = 0; i < connections; i++) pending += conns[i].busy;
  qsort(latency, samples, sizeof *latency, by_size);
  qsort(first_byte, samples, sizeof *first_byte, by_size);
  printf("{\"rps\":%.1f,\"n\":%ld,\"errs\":%ld,\"bad\":%ld,\"missed\":%ld,\"p50_us\":%.0f,\"p90_us\":%.0f,"
         "\"p99_us\":%.0f,\"max_us\":%.0f,\"ttft50_us\":%.0f,\"ttft99_us\":%.0f,\"chunks_s\":%.0f,\"answers\":%ld,"
         "\"pending\":%ld}\n",
         samples / seconds, samples, errors, bad, missed, quantile_us(latency, .5), quantile_us(latency, .9),
         quantile_us(latency, .99), quantile_us(latency, 1.0), quantile_us(first_byte, .5),
         quantile_us(first_byte, .99), chunks / seconds, answers, pending);
}

int main(int argc, char **argv) {
  if (argc < 7) {
    fprintf(stderr, "usage: load PORT PATH CONNECTIONS SECONDS RATE STREAM [HEADER...]\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  port = atoi(argv[1]);
  connections = atoi(argv[3]);
  double seconds = atof(argv[4]), rate = atof(argv[5]);
  streaming = atoi(argv[6]);
  latency = malloc(MAX_SAMPLES * sizeof *latency);
  first_byte = malloc(MAX_SAMPLES * sizeof *first_byte);
  make_request(argc, argv);
  poll_fd = epoll_create1(0);
  conns = calloc(connections, sizeof *conns);
  for (int i = 0; i < connections; i++)
    if (dial(&conns[i])) {
      fprintf(stderr, "cannot connect to 127.0.0.1:%d\n", port);
      return 1;
    }

  ns begin = now();
  warm_end = begin + (ns)(WARM_UP_S * 1e9);
  measure_end = warm_end + (ns)(seconds * 1e9);
  ns gap = rate > 0 ? (ns)(1e9 / rate) : 0, next = begin;
  long missed = 0;
  if (!gap)
    for (int i = 0; i < connections; i++) ask(&conns[i], now());
  struct epoll_event ready[512];
  for (;;) {
    ns t = now();
    int ending = t > measure_end;
    if (ending && (t > measure_end + DRAIN_NS || !any_busy())) break;
    struct timespec sleep = {0, MAX_SLEEP_NS};
    if (gap && !ending) {
      while (next <= t) {
        conn *c = free_conn();
        if (!c) {
          if (t - next > GIVE_UP_NS) {
            missed++;
            next += gap;
          }
          break;
        }
        ask(c, next);
        next += gap;
      }
      ns left = next - now();
      sleep.tv_nsec = left < 0 ? 0 : left > MAX_SLEEP_NS ? MAX_SLEEP_NS : left;
    }
    int n = epoll_pwait2(poll_fd, ready, 512, &sleep, NULL);
    for (int i = 0; i < n; i++) {
      conn *c = ready[i].data.ptr;
      int r = recv(c->fd, c->buf + c->len, sizeof c->buf - 1 - c->len, 0);
      if (r <= 0) {
        if (r < 0 && errno == EAGAIN) continue;
        lost(c, !gap);
        continue;
      }
      if (!c->busy) continue;
      ns arrived = now();
      if (take(c, r, arrived)) {
        finish(c, arrived);
        if (!gap && arrived < measure_end) ask(c, now());
      }
    }
  }
  report(seconds, missed);
  return 0;
}
