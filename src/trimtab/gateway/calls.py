"""The endpoints that make a call: chat completions and embeddings."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from trimtab.access import Caller, authorize
from trimtab.limits import grant_headers
from trimtab.pipeline import Ask, Core, LiveCall
from trimtab.types import CallKind, TrimtabError
from trimtab.types.errors import CallerError, ClientGone

from .replies import JSON, Headers, Send, send_bytes, send_error
from .requests import read_body

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
_SSE = (b"content-type", b"text/event-stream; charset=utf-8")
_NO_CACHE = (b"cache-control", b"no-cache")
_LONGEST_LABEL = 256
_LABELS = frozenset(
    {b"traceparent", b"x-trimtab-session", b"x-trimtab-user", b"x-trimtab-tags", b"cache-control"}
)
"""Headers that say something of the call: they are kept with it, beside the user agent, or steer it."""


class Calls:
    """Turns HTTP requests into calls, and calls into HTTP replies."""

    def __init__(self, core: Core, *, bound_to_loopback: bool) -> None:
        self._core = core
        self._loopback = bound_to_loopback

    async def serve(self, kind: CallKind, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /v1/chat/completions` and `/v1/embeddings`."""
        core = self._core
        core.shed()
        state = core.state
        policy = state.policy
        headers = scope["headers"]
        by_name = dict(headers)
        caller = authorize(headers, policy, state.ring, bound_to_loopback=self._loopback, by_name=by_name)
        body = await read_body(by_name, receive, policy.max_request_bytes)
        ask = _ask(kind, body, caller, by_name, partial(_gone, receive))
        call = core.call(ask)
        try:
            async with call:
                if call.parsed.stream:
                    await _stream(call, send)
                else:
                    await send_bytes(send, 200, call.body, _headers(call, JSON))
        except ClientGone:
            raise
        except TrimtabError as error:
            if call.opened is None:
                raise
            if not call.streaming:
                await send_error(send, error, _headers(call))
            # A broken stream: its error event is out, and the body stays unterminated on purpose.


async def _stream(call: LiveCall, send: Send) -> None:
    call.streaming = True
    try:
        await send({"type": "http.response.start", "status": 200, "headers": _headers(call, _SSE, _NO_CACHE)})
        async for data in call.chunks():
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    except OSError as error:  # how a server says that nobody is there any more (ASGI, `send`)
        raise ClientGone("the client closed its connection before the answer was complete") from error


def _headers(call: LiveCall, *first: tuple[bytes, bytes]) -> Headers:
    """Return a reply's headers: `first`, what is to be said of the call, and the provider's rate limits."""
    outcome = call.outcome
    headers = [
        *first,
        (b"x-trimtab-call-id", call.call_id.encode()),
        call.plan.header,
        (b"x-trimtab-model", outcome.model.encode("latin-1", "replace")),
    ]
    if outcome.degraded:
        headers.append((b"x-trimtab-degraded", b"true"))
    if call.slot is not None:
        headers.append((b"x-trimtab-cache", b"hit" if outcome.cache_hit else b"miss"))
        if outcome.cache_hit:
            headers.append((b"age", b"%d" % call.slot.age_s()))
    if outcome.cost_nusd is not None:
        headers.append((b"x-trimtab-cost-nusd", b"%d" % outcome.cost_nusd))
    ours = grant_headers(call.grant) if call.grant is not None else ()
    headers += ours
    theirs = call.reply_headers
    if not theirs:
        return headers
    told = frozenset(name for name, _ in ours)
    for text, value in theirs:
        name = text.encode("latin-1")
        # What is limited here is told of in place of the provider's own limits.
        if name not in told:
            headers.append((name, value.encode("latin-1")))
    return headers


def _ask(
    kind: CallKind,
    body: bytes,
    caller: Caller,
    by_name: dict[bytes, bytes],
    gone: Callable[[], Awaitable[None]],
) -> Ask:
    """Return the request for a call, with what the headers say of it."""
    agent = by_name.get(b"user-agent")
    client = "" if agent is None else _label(agent)
    if _LABELS.isdisjoint(by_name):
        return Ask(kind, body, caller, gone, client)
    get = by_name.get
    return Ask(
        kind,
        body,
        caller,
        gone,
        client,
        session=_label(get(b"x-trimtab-session")),
        user=_label(get(b"x-trimtab-user")),
        tags=_tags(_label(get(b"x-trimtab-tags"))),
        trace_parent=_label(get(b"traceparent")),
        cache=_cache_control(get(b"cache-control")),
    )


def _cache_control(value: bytes | None) -> str:
    """Return what a request's `Cache-Control` asks of the cache, the stricter of the two directives we know."""
    said = value.lower() if value is not None else b""
    return "no-store" if b"no-store" in said else "no-cache" if b"no-cache" in said else ""


async def _gone(receive: Receive) -> None:
    """Return once the client has closed its connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _tags(text: str) -> tuple[str, ...]:
    return tuple(tag for tag in (part.strip() for part in text.split(",")) if tag) if text else ()


def _label(value: bytes | None) -> str:
    """Return a header's text, cut to a sane length and free of control characters."""
    if value is None:
        return ""
    text = value[:_LONGEST_LABEL].decode("utf-8", "replace")
    if not text.isprintable():
        raise CallerError("headers must hold printable text")
    return text
