"""How faults rewrite what is sent: each function takes the healthy reply and returns the steps instead."""

import gzip
from collections.abc import Callable

import msgspec

from .encode import sse
from .plan import End, Scale, Send, Step, Wait, WireReply, status_line

Strike = Callable[[WireReply, Scale], list[Step]]

_BLOCK = 1024 * 1024
"""Bytes a huge body is written in."""

_FAULT_JSON = (
    b'{"error":{"message":"The server had an error.","type":"server_error","param":null,"code":null}}'
)

_HTML = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>"


def _early(reply: WireReply) -> int:
    """Return how many parts come before the first content: the role chunk of a stream."""
    return reply.first_content if reply.stream else 0


def _late(reply: WireReply) -> int:
    """Return how many parts come up to and with the first content."""
    return reply.first_content + 1 if reply.stream else 0


def _half(reply: WireReply) -> bytes:
    """Return the framed first half of the part after those sent: a cut in its middle."""
    parts = reply.parts[_late(reply) :] or reply.parts
    framed = reply.frame(parts[0])
    return framed[: len(framed) // 2]


def _inside(part: bytes) -> int:
    """Return a place inside the part's text; inside the model's name where it has no text."""
    for opening in (b'"content":"', b'"model":"'):
        if opening in part:
            return part.index(opening) + len(opening)
    raise ValueError(f"this fault needs an answer with text or a model's name in it, not {part[:80]!r}")


def reset_before_head(reply: WireReply, scale: Scale) -> list[Step]:
    """Take the request, then send RST."""
    return [Wait(scale.settle_s), End("reset")]


def close_before_head(reply: WireReply, scale: Scale) -> list[Step]:
    """Take the request, then close."""
    return [End("close")]


def reset_after_head(reply: WireReply, scale: Scale) -> list[Step]:
    """Send the head, then RST."""
    return [*reply.upto(0), Wait(scale.settle_s), End("reset")]


def close_after_head(reply: WireReply, scale: Scale) -> list[Step]:
    """Send the head, then close, although a body was announced."""
    return [*reply.upto(0), Wait(scale.settle_s), End("close")]


def stall_before_head(reply: WireReply, scale: Scale) -> list[Step]:
    """Take the request and say nothing."""
    return [Wait(scale.stall_s), End("close")]


def stall_after_head(reply: WireReply, scale: Scale) -> list[Step]:
    """Send the head and no byte of the body."""
    return [*reply.upto(0), Wait(scale.stall_s), End("close")]


def stall_before_content(reply: WireReply, scale: Scale) -> list[Step]:
    """Send what comes before the first content, then nothing."""
    return [*reply.upto(_early(reply)), Wait(scale.stall_s), End("close")]


def stall_mid_reply(reply: WireReply, scale: Scale) -> list[Step]:
    """Send the first content (half the body of an unstreamed reply), then nothing."""
    begun = reply.upto(_late(reply))
    return [*begun, *([] if reply.stream else [Send(_half(reply))]), Wait(scale.stall_s), End("close")]


def reset_mid_reply(reply: WireReply, scale: Scale) -> list[Step]:
    """Send the first content (half the body), then RST."""
    return [*reply.upto(_late(reply)), Send(_half(reply)), Wait(scale.settle_s), End("reset")]


def cut_mid_chunk(reply: WireReply, scale: Scale) -> list[Step]:
    """Send the first content and half of the next piece, then close: the framing breaks."""
    return [*reply.upto(_late(reply)), Send(_half(reply)), Wait(scale.settle_s), End("close")]


def cut_before_content(reply: WireReply, scale: Scale) -> list[Step]:
    """End the stream, properly framed, before its first content."""
    return [*reply.upto(_early(reply)), Send(reply.tail())]


def cut_between_events(reply: WireReply, scale: Scale) -> list[Step]:
    """End the stream, properly framed, after its first content, without finish reason and `[DONE]`."""
    return [*reply.upto(_late(reply)), Send(reply.tail())]


def truncated_body(reply: WireReply, scale: Scale) -> list[Step]:
    """Announce 64 bytes more than are sent, then close."""
    body = b"".join(reply.parts)
    return [Send(reply.head(length=len(body) + 64) + body), Wait(scale.settle_s), End("close")]


def _inserted(reply: WireReply, at: int, part: bytes) -> list[Step]:
    """Return the stream with a part put in at a place, and ended properly right after it."""
    changed = (*reply.parts[:at], part)
    return msgspec.structs.replace(reply, parts=changed).steps()


def malformed_event(reply: WireReply, scale: Scale) -> list[Step]:
    """Send broken JSON as the first event, in a stream that is otherwise whole."""
    parts = (sse(b'{"id":"chatcmpl-fake","choices":[{"index":0,'), *reply.parts)
    return msgspec.structs.replace(reply, parts=parts).steps()


def malformed_event_late(reply: WireReply, scale: Scale) -> list[Step]:
    """Send broken JSON after the first content, in a stream that is otherwise whole."""
    at = _late(reply)
    parts = (*reply.parts[:at], sse(b'{"choices":[{"index":0,"delta":'), *reply.parts[at:])
    return msgspec.structs.replace(reply, parts=parts).steps()


def malformed_body(reply: WireReply, scale: Scale) -> list[Step]:
    """Send half of the JSON, with a Content-Length that fits the half."""
    body = b"".join(reply.parts)
    return msgspec.structs.replace(reply, parts=(body[: len(body) // 2],)).steps()


def html_page(reply: WireReply, scale: Scale) -> list[Step]:
    """Send a login page with status 200, as a captive portal or a wrong URL does."""
    page = WireReply(headers=(("content-type", "text/html; charset=utf-8"),), parts=(_HTML,))
    return page.steps()


def empty_body(reply: WireReply, scale: Scale) -> list[Step]:
    """Send status and headers, and a body of no bytes."""
    return msgspec.structs.replace(reply, parts=(), stream=False).steps()


def empty_choices(reply: WireReply, scale: Scale) -> list[Step]:
    """Send an answer whose list of choices is empty."""
    if not reply.stream:
        body = msgspec.json.decode(reply.parts[0])
        emptied = body | {name: [] for name in ("choices", "data") if name in body}
        return msgspec.structs.replace(reply, parts=(msgspec.json.encode(emptied),)).steps()
    chunk = msgspec.json.decode(reply.parts[0].removeprefix(b"data: "))
    parts = (sse(msgspec.json.encode(chunk | {"choices": []})), reply.parts[-1])
    return msgspec.structs.replace(reply, parts=parts).steps()


def bad_utf8(reply: WireReply, scale: Scale) -> list[Step]:
    """Put bytes that are no UTF-8 into the first content."""
    at = reply.first_content if reply.stream else 0
    split = _inside(reply.parts[at])
    broken = reply.parts[at][:split] + b"\xff\xfe\x80" + reply.parts[at][split:]
    return msgspec.structs.replace(reply, parts=(*reply.parts[:at], broken, *reply.parts[at + 1 :])).steps()


def error_event(reply: WireReply, scale: Scale) -> list[Step]:
    """Send an error as an event of a stream that began with 200, before any content; then end it."""
    return _inserted(reply, _early(reply), sse(_FAULT_JSON))


def error_event_late(reply: WireReply, scale: Scale) -> list[Step]:
    """Send an error as an event after the first content; then end the stream."""
    return _inserted(reply, _late(reply), sse(_FAULT_JSON))


def gzip_body(reply: WireReply, scale: Scale) -> list[Step]:
    """Compress the body although nobody asked."""
    parts = (gzip.compress(b"".join(reply.parts), mtime=0),)
    headers = (*reply.headers, ("content-encoding", "gzip"))
    return msgspec.structs.replace(reply, parts=parts, headers=headers).steps()


def drip(reply: WireReply, scale: Scale) -> list[Step]:
    """Send the healthy reply byte by byte."""
    steps: list[Step] = []
    for step in reply.steps():
        if not isinstance(step, Send):
            steps.append(step)
            continue
        for at in range(0, len(step.data), scale.drip_bytes):
            steps += [Send(step.data[at : at + scale.drip_bytes]), Wait(scale.drip_s)]
    return steps


def _blocks(size: int) -> list[Step]:
    block = b"x" * min(size, _BLOCK)
    return [Send(block[: min(_BLOCK, size - at)]) for at in range(0, size, _BLOCK)]


def huge_body(reply: WireReply, scale: Scale) -> list[Step]:
    """Send valid JSON whose content is padded to the huge size."""
    body = reply.parts[0]
    at = _inside(body)
    head = reply.head(length=len(body) + scale.huge_bytes)
    return [Send(head + body[:at]), *_blocks(scale.huge_bytes), Send(body[at:])]


def huge_line(reply: WireReply, scale: Scale) -> list[Step]:
    """Send one event of the huge size where the first content should be."""
    at = reply.first_content
    event = reply.parts[at]
    split = _inside(event)
    size = len(event) + scale.huge_bytes
    opening = b"%x\r\n%b" % (size, event[:split])
    after = b"".join(map(reply.frame, reply.parts[at + 1 :])) + reply.tail()
    return [*reply.upto(at), Send(opening), *_blocks(scale.huge_bytes), Send(event[split:] + b"\r\n" + after)]


def endless_head(reply: WireReply, scale: Scale) -> list[Step]:
    """Send header after header, up to the huge size, and never the end of the head."""
    line = b"x-filler: " + b"f" * 4084 + b"\r\n"
    count = max(1, scale.huge_bytes // len(line))
    return [
        Send(status_line(200).encode() + b"\r\n"),
        *([Send(line)] * count),
        Wait(scale.stall_s),
        End("close"),
    ]


def http09_garbage(reply: WireReply, scale: Scale) -> list[Step]:
    """Answer with a body and no head, as HTTP/0.9 did."""
    return [Send(_HTML + b"\r\n\r\n"), Wait(scale.settle_s), End("close")]
