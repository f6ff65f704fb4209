// A mock of the OpenAI chat endpoint: upstream PORT [CHUNK_GAP_US]
//
// One thread, epoll, HTTP/1.1 with keep-alive on 127.0.0.1. Whatever the path, a POST whose body does not ask for a
// stream gets one fixed 528-byte completion; one that does gets 50 content events, a finish event, a usage event and
// [DONE], with CHUNK_GAP_US between content events (0: all at once). GET answers with what was served so far, so that a
// harness can count requests and events over exactly the window in which it reads CPU clocks.
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

#define CONTENT_EVENTS 50
#define ALL_EVENTS (CONTENT_EVENTS + 3)  // finish, usage, [DONE]
#define REQUEST_CAP 65536                // bytes; one whole request must fit

typedef struct conn {
  int fd;
  char *buf;
  int len, cap;
  int streaming;             // an answer is being dripped out
  int next;                  // the event to send next
  long long due;             // when, in µs
  struct conn *after, *before;  // ring of dripping connections, earliest due first
} conn;

static char completion[4096];
static int completion_len;
static char stream_head[512];
static int stream_head_len;
static char event[ALL_EVENTS][512];
static int event_len[ALL_EVENTS];
static long long gap_us = 0;
static conn ring = {.after = &ring, .before = &ring};
static unsigned long long served = 0, events_sent = 0;

static long long now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static void write_all(int fd, const char *bytes, int count) {
  int done = 0;
  while (done < count) {
    int r = send(fd, bytes + done, count - done, MSG_NOSIGNAL);
    if (r < 0) {
      if (errno == EAGAIN) {
        usleep(50);
        continue;
      }
      return;
    }
    done += r;
  }
}

static void leave_ring(conn *c) {
  if (!c->after) return;
  c->after->before = c->before;
  c->before->after = c->after;
  c->after = c->before = NULL;
}

static void join_ring(conn *c) {
  c->after = &ring;
  c->before = ring.before;
  ring.before->after = c;
  ring.before = c;
}

static void close_conn(conn *c) {
  leave_ring(c);
  close(c->fd);
  free(c->buf);
  free(c);
}

static void send_event(conn *c, int which) {
  write_all(c->fd, event[which], event_len[which]);
  if (which != ALL_EVENTS - 1) events_sent++;  // [DONE] is no chunk, as the load generator counts
}

static void send_counts(conn *c) {
  char body[128], reply[256];
  int n = snprintf(body, sizeof body, "{\"served\":%llu,\"events\":%llu}", served, events_sent);
  n = snprintf(reply, sizeof reply, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
               n, body);
  write_all(c->fd, reply, n);
}

// Answer every whole request in the buffer, one at a time; stop at a partial one or while a stream is dripping.
static void answer(conn *c) {
  for (;;) {
    if (c->streaming || c->len < 16) return;
    char *blank = memmem(c->buf, c->len, "\r\n\r\n", 4);
    if (!blank) return;
    int head_len = blank - c->buf + 4;
    long content_length = 0;
    int chunked = 0;
    for (char *p = c->buf; p < blank;) {
      char *eol = memchr(p, '\n', blank + 2 - p);
      if (!eol) break;
      if (!strncasecmp(p, "content-length:", 15)) content_length = atol(p + 15);
      if (!strncasecmp(p, "transfer-encoding:", 18)) chunked = 1;
      p = eol + 1;
    }
    int total;
    if (chunked) {
      char *end = memmem(blank + 4, c->len - head_len, "0\r\n\r\n", 5);
      if (!end) return;
      total = end + 5 - c->buf;
    } else {
      if (c->len < head_len + content_length) return;
      total = head_len + content_length;
    }
    int counts = !strncmp(c->buf, "GET ", 4);
    int stream = memmem(blank, total - head_len + 4, "\"stream\":true", 13) ||
                 memmem(blank, total - head_len + 4, "\"stream\": true", 14);
    memmove(c->buf, c->buf + total, c->len - total);
    c->len -= total;
    if (counts) {
      send_counts(c);
      continue;
    }
    served++;
    if (!stream) {
      write_all(c->fd, completion, completion_len);
      continue;
    }
    write_all(c->fd, stream_head, stream_head_len);
    if (gap_us == 0) {
      for (int i = 0; i < ALL_EVENTS; i++) send_event(c, i);
    } else {
      send_event(c, 0);
      c->streaming = 1;
      c->next = 1;
      c->due = now_us() + gap_us;
      join_ring(c);
    }
  }
}

// Send what is due. Every connection has the same gap, so the ring stays in order of time by itself.
static void drip(void) {
  long long t = now_us();
  while (ring.after != &ring && ring.after->due <= t) {
    conn *c = ring.after;
    leave_ring(c);
    if (c->next < CONTENT_EVENTS) {
      send_event(c, c->next);
      c->next++;
      c->due += gap_us;
      if (c->due < t) c->due = t;
      join_ring(c);
    } else {
      for (int i = CONTENT_EVENTS; i < ALL_EVENTS; i++) send_event(c, i);
      c->streaming = 0;
      answer(c);
    }
  }
}

#define CHUNK_HEAD                                                                             \
  "data: {\"id\":\"chatcmpl-9f2kQm3LrT7VxYpZ0aBcDeFgHiJkL\",\"object\":\"chat.completion.chunk\"," \
  "\"created\":1790000000,\"model\":\"gpt-4o-mini-2024-07-18\","

static void make_replies(void) {
  const char *body =
      "{\"id\":\"chatcmpl-9f2kQm3LrT7VxYpZ0aBcDeFgHiJkL\",\"object\":\"chat.completion\",\"created\":1790000000,"
      "\"model\":\"gpt-4o-mini-2024-07-18\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"
      "\"The capital of France is Paris. It lies on the Seine and has been the capital for most of the time since the "
      "tenth century.\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":"
      "57,\"completion_tokens\":27,\"total_tokens\":84,\"prompt_tokens_details\":{\"cached_tokens\":0}},"
      "\"system_fingerprint\":\"fp_44709d6fcb\"}";
  completion_len = snprintf(completion, sizeof completion,
                            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
                            "x-request-id: req_1\r\n\r\n%s",
                            (int)strlen(body), body);
  stream_head_len = snprintf(stream_head, sizeof stream_head,
                             "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
                             "Transfer-Encoding: chunked\r\nx-request-id: req_1\r\n\r\n");
  for (int i = 0; i < ALL_EVENTS; i++) {
    char text[480];
    int n;
    if (i < CONTENT_EVENTS) {
      n = snprintf(text, sizeof text,
                   CHUNK_HEAD "\"system_fingerprint\":\"fp_44709d6fcb\",\"choices\":[{\"index\":0,\"delta\":{%s"
                              "\"content\":\" tok%d\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n",
                   i == 0 ? "\"role\":\"assistant\"," : "", i);
    } else if (i == CONTENT_EVENTS) {
      n = snprintf(text, sizeof text,
                   CHUNK_HEAD "\"system_fingerprint\":\"fp_44709d6fcb\",\"choices\":[{\"index\":0,\"delta\":{},"
                              "\"logprobs\":null,\"finish_reason\":\"stop\"}]}\n\n");
    } else if (i == CONTENT_EVENTS + 1) {
      n = snprintf(text, sizeof text,
                   CHUNK_HEAD "\"choices\":[],\"usage\":{\"prompt_tokens\":57,\"completion_tokens\":50,"
                              "\"total_tokens\":107}}\n\n");
    } else {
      n = snprintf(text, sizeof text, "data: [DONE]\n\n");
    }
    const char *last_chunk = i == ALL_EVENTS - 1 ? "0\r\n\r\n" : "";
    event_len[i] = snprintf(event[i], sizeof event[i], "%x\r\n%s\r\n%s", n, text, last_chunk);
  }
}

static int listen_on(int port) {
  int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  if (bind(fd, (void *)&address, sizeof address)) {
    perror("bind");
    exit(1);
  }
  listen(fd, 4096);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  return fd;
}

static void accept_all(int listener, int poll_fd) {
  int fd, one = 1;
  while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    conn *c = calloc(1, sizeof *c);
    c->fd = fd;
    c->cap = REQUEST_CAP;
    c->buf = malloc(c->cap);
    struct epoll_event watch = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &watch);
  }
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: upstream PORT [CHUNK_GAP_US]\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  if (argc > 2) gap_us = atol(argv[2]);
  make_replies();
  int listener = listen_on(atoi(argv[1]));
  int poll_fd = epoll_create1(0);
  struct epoll_event watch = {.events = EPOLLIN, .data.ptr = NULL}, ready[512];
  epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &watch);
  for (;;) {
    int wait_ms = -1;
    if (ring.after != &ring) {
      long long left = ring.after->due - now_us();
      wait_ms = left <= 0 ? 0 : (int)((left + 999) / 1000);
    }
    int n = epoll_wait(poll_fd, ready, 512, wait_ms);
    for (int i = 0; i < n; i++) {
      conn *c = ready[i].data.ptr;
      if (!c) {
        accept_all(listener, poll_fd);
        continue;
      }
      int r = recv(c->fd, c->buf + c->len, c->cap - c->len, 0);
      if (r <= 0) {
        if (r < 0 && errno == EAGAIN) continue;
        close_conn(c);
        continue;
      }
      c->len += r;
      answer(c);
    }
    if (gap_us) drip();
  }
}
