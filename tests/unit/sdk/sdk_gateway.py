"""A loopback stand-in for the gateway: it says what a test wants, and notes what it was sent."""

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

HEAD = {"content-type": "application/json", "x-trimtab-call-id": "call-1", "x-trimtab-release": "rel_1"}


@dataclass
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self):
        return json.loads(self.body)


@dataclass
class Gateway:
    """Plays `plays` in order, one a request; the last one is played again for every further request."""

    plays: list[Callable[[socket.socket, Asked], None]]
    asked: list[Asked] = field(default_factory=list)
    closed_at: list[float] = field(default_factory=list)

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/v1"
        self.changed = threading.Condition()
        self.live = set()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc):
        for door in [self.listener, *self.live]:
            # Closing alone leaves a thread waiting inside, and the port open.
            with contextlib.suppress(OSError):
                door.shutdown(socket.SHUT_RDWR)
            door.close()

    def _accept(self):
        while True:
            try:
                door, _ = self.listener.accept()
            except OSError:
                return
            self.live.add(door)
            threading.Thread(target=self._serve, args=(door,), daemon=True).start()

    def _serve(self, door):
        try:
            while (asked := _read(door)) is not None:
                with self.changed:
                    play = self.plays[min(len(self.asked), len(self.plays) - 1)]
                    self.asked.append(asked)
                    self.changed.notify_all()
                play(door, asked)
        except OSError:
            pass
        finally:
            with self.changed:
                self.closed_at.append(time.monotonic())
                self.changed.notify_all()
            self.live.discard(door)
            door.close()

    def wait(self, met, timeout_s=5.0):
        with self.changed:
            return self.changed.wait_for(lambda: met(self), timeout_s)


def _read(door):
    data = b""
    while b"\r\n\r\n" not in data:
        more = door.recv(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += door.recv(65536)
    method, path, _ = first.split(" ")
    return Asked(method, path, headers, body)


def reply(body, status=200, **headers):
    """A whole reply."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = {**HEAD, **{k.replace("_", "-"): v for k, v in headers.items()}}

    def play(door, asked):
        lines = "".join(f"{k}: {v}\r\n" for k, v in names.items() if v is not None)
        door.sendall(f"HTTP/1.1 {status} X\r\n{lines}content-length: {len(raw)}\r\n\r\n".encode() + raw)

    return play


def chat(text="Hello", **more):
    """An unstreamed answer."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    return reply({"id": "x", "model": "m-1", "choices": [choice], "usage": usage}, **more)


def error(status, code, message="no", **headers):
    """An OpenAI-shaped error."""
    return reply({"error": {"message": message, "type": "t", "param": None, "code": code}}, status, **headers)


def delta(text=None, finish=None, **more):
    """One chunk of a stream, as an event."""
    fields = {"content": text} if text is not None else {}
    choice = {"index": 0, "delta": {**fields, **more}, "finish_reason": finish}
    return event({"id": "x", "object": "chat.completion.chunk", "model": "m-1", "choices": [choice]})


def event(data):
    return b"data: " + (data if isinstance(data, bytes) else json.dumps(data).encode()) + b"\n\n"


USAGE = event({"id": "x", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}})
DONE = event(b"[DONE]")


def stream(*pieces, end="whole", **headers):
    """A streamed reply, one HTTP chunk a piece. `end`: whole, cut, reset or hang."""
    names = {**HEAD, "content-type": "text/event-stream", **headers}

    def play(door, asked):
        lines = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in names.items())
        door.sendall(f"HTTP/1.1 200 OK\r\n{lines}transfer-encoding: chunked\r\n\r\n".encode())
        for piece in pieces:
            door.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        if end == "whole":
            door.sendall(b"0\r\n\r\n")
        elif end == "cut":
            raise OSError("cut")
        elif end == "reset":
            reset(door, asked)
        elif end == "hang" and not door.recv(1):
            raise OSError("the client went away")

    return play


def reset(door, asked):
    """Break the connection, as a machine that died would."""
    door.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise OSError("reset")


def mute(door, asked):
    """Read, and say nothing until the client goes away."""
    door.recv(1)
    raise OSError("the client went away")
