"""A client on a bare socket, which sees what is there and is kind about nothing."""

import socket
from dataclasses import dataclass

import msgspec


@dataclass(frozen=True)
class Answer:
    """What a client saw, read from the socket without any client library's kindness."""

    status: int
    text: str
    done: bool
    terminated: bool
    error: str
    call_id: str


def ask(port: int, model: str, *, stream: bool) -> Answer:
    body = msgspec.json.encode(
        {"model": model, "stream": stream, "messages": [{"role": "user", "content": "Capital of France?"}]}
    )
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(head.encode() + body)
        raw = b""
        while piece := client.recv(65536):
            raw += piece
    top, _, rest = raw.partition(b"\r\n\r\n")
    lines = top.decode("latin-1").split("\r\n")
    status = int(lines[0].split()[1])
    headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:])}
    chunked = headers.get("transfer-encoding") == "chunked"
    terminated = not chunked or rest.endswith(b"0\r\n\r\n")
    data = _dechunk(rest) if chunked else rest
    call_id = headers.get("x-trimtab-call-id", "")
    if headers.get("content-type", "").startswith("text/event-stream"):
        text, error, done = "", "", False
        for event in data.split(b"\n\n"):
            if event == b"data: [DONE]":
                done = True
            elif event.startswith(b"data: "):
                chunk = msgspec.json.decode(event[6:])
                if "error" in chunk:
                    error = chunk["error"]["code"]
                text += "".join(c["delta"].get("content") or "" for c in chunk.get("choices", ()))
        return Answer(status, text, done, terminated, error, call_id)
    reply = msgspec.json.decode(data)
    if status == 200:
        return Answer(status, reply["choices"][0]["message"]["content"], True, terminated, "", call_id)
    return Answer(status, "", False, terminated, headers.get("x-trimtab-error", "?"), call_id)


def _dechunk(data: bytes) -> bytes:
    out = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        n = int(size or b"0", 16)
        if n == 0:
            break
        out += data[:n]
        data = data[n + 2 :]
    return out
