"""The conformance kit of the Provider port: a provider that passes holds what the port promises."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import msgspec

from trimtab.types import (
    Completion,
    ContentDelta,
    Deadlines,
    Done,
    Event,
    Finish,
    Frame,
    Provider,
    Request,
    Started,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from trimtab.types.errors import (
    ProviderAuthFailed,
    ProviderError,
    ProviderFailed,
    ProviderRejected,
    ProviderUnavailable,
    RateLimited,
)

from .reply import Choice, Scripted, ToolCall
from .script import Script
from .wire.plan import Pace

_TOO_LONG_S = 20.0
"""A check that takes longer has found a provider that hangs."""

_STALLED = Scripted(("one", "two", "three"), pace=Pace(between_s=60.0))


@dataclass(frozen=True)
class Rig:
    """A provider under test, and how to see its upstream."""

    provider: Provider
    in_flight: Callable[[], int] | None = None
    """How many replies the upstream is sending now (`FakeServer.in_flight`); None: it cannot be seen."""


MakeProvider = Callable[[Script], AbstractAsyncContextManager[Rig]]
"""Opens a rig whose upstream answers by the script, in whatever dialect the provider speaks."""


@dataclass(frozen=True)
class _Kit:
    make: MakeProvider
    model: str
    raw: bool
    closes_within_s: float

    def request(self, text: str = "hello", *, stream: bool = True) -> Request:
        fields: dict[str, Any] = {"model": self.model, "messages": [{"role": "user", "content": text}]}
        if stream:
            fields |= {"stream": True, "stream_options": {"include_usage": True}}
        body = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in fields.items()}
        return Request(kind="chat", model=self.model, body=body, stream=stream, deadlines=Deadlines())

    async def stream(self, reply: Scripted) -> list[Frame]:
        async with self.make(Script([reply])) as rig, rig.provider.open(self.request()) as opened:
            return [frame async for frame in opened.frames()]

    async def whole(self, reply: Scripted) -> Completion:
        async with self.make(Script([reply])) as rig:
            async with rig.provider.open(self.request(stream=False)) as opened:
                return await opened.completion()

    async def error(self, reply: Scripted, *, stream: bool) -> ProviderError | None:
        """Return the error that entering raises, or None."""
        async with self.make(Script([reply])) as rig:
            try:
                async with rig.provider.open(self.request(stream=stream)):
                    return None
            except ProviderError as e:
                return e


async def check_provider(
    make: MakeProvider, *, model: str = "fake-1", raw: bool = False, closes_within_s: float = 0.1
) -> list[str]:
    """Check every promise of the Provider port.

    Args:
        make: opens a rig whose upstream answers by the script that it is given; called once per check.
        model: what to ask for; the rig's `models()` must list it.
        raw: whether the provider forwards OpenAI's bytes in its frames.
        closes_within_s: how soon after a cancellation the upstream must see the connection closed.

    Returns:
        The names of the checks that held.

    Raises:
        AssertionError: a promise is broken; the message says which, and what was seen.
    """
    kit = _Kit(make, model, raw, closes_within_s)
    held = []
    for check in _CHECKS:
        name = check.__name__.strip("_")
        try:
            async with asyncio.timeout(_TOO_LONG_S):
                await check(kit)
        except TimeoutError as e:
            raise AssertionError(f"{name}: the provider hung for {_TOO_LONG_S:g} s") from e
        held.append(name)
    return held


def _must(held: object, promise: str, seen: object = None) -> None:
    if not held:
        raise AssertionError(f"{promise}; seen: {seen!r}")


def _events(frames: list[Frame]) -> list[Event]:
    return [event for frame in frames for event in frame.events]


def _text(events: list[Event], choice: int = 0) -> str:
    return "".join(e.text for e in events if isinstance(e, ContentDelta) and e.choice == choice)


def _message(completion: Completion, choice: int = 0) -> dict[str, Any]:
    body = msgspec.json.decode(completion.body)
    message: dict[str, Any] = body["choices"][choice]["message"]
    return message


def _calls(events: list[Event]) -> list[tuple[str, str]]:
    """Put the streamed tool calls together: (name, arguments)."""
    calls: dict[int, tuple[str, str]] = {}
    for event in events:
        if isinstance(event, ToolCallDelta):
            name, arguments = calls.get(event.index, ("", ""))
            calls[event.index] = (name + (event.name or ""), arguments + event.arguments)
    return [calls[index] for index in sorted(calls)]


async def _a_stream_begins_with_started_and_ends_with_done(kit: _Kit) -> None:
    events = _events(await kit.stream(Scripted(("Hello", " world"), model="served-1")))
    _must(isinstance(events[0], Started), "the first event is Started", events[:2])
    _must(isinstance(events[-1], Done), "the last event of a clean stream is Done", events[-2:])
    _must(sum(isinstance(e, Done) for e in events) == 1, "Done comes once", events)
    started = events[0]
    _must(getattr(started, "model", "") == "served-1", "Started names the model that served", started)


async def _deltas_add_up_to_the_whole_text(kit: _Kit) -> None:
    reply = Scripted(
        ("Grüße", " 世界", " 👩‍💻", "\n\ndata: [DONE]\n", ' "quoted" \\u0041'), others=[Choice("second one")]
    )
    events = _events(await kit.stream(reply))
    completion = await kit.whole(reply)
    for number, choice in enumerate(reply.choices()):
        said = _text(events, number)
        _must(said == choice.whole_text(), f"the deltas of choice {number} add up to its text", said)
        whole = _message(completion, number)["content"]
        _must(whole == said, f"choice {number} says the same streamed and whole", whole)


async def _tool_calls_arrive_whole(kit: _Kit) -> None:
    calls = (ToolCall("weather", '{"city": "東京", "days": 3}'), ToolCall("clock", "{}"))
    reply = Scripted(tool_calls=calls)
    wanted = [(c.name, c.arguments) for c in calls]
    events = _events(await kit.stream(reply))
    _must(_calls(events) == wanted, "streamed tool calls add up", _calls(events))
    sent = _message(await kit.whole(reply))["tool_calls"]
    seen = [(c["function"]["name"], c["function"]["arguments"]) for c in sent]
    _must(seen == wanted, "unstreamed tool calls arrive", seen)


async def _finish_reasons_are_told(kit: _Kit) -> None:
    reply = Scripted("cut short", finish_reason="length")
    reasons = [e.reason for e in _events(await kit.stream(reply)) if isinstance(e, Finish)]
    _must(reasons == ["length"], "a stream tells why each choice finished, once", reasons)
    reason = (await kit.whole(reply)).finish_reason
    _must(reason == "length", "a completion tells why it finished", reason)


async def _usage_is_the_providers(kit: _Kit) -> None:
    usage = Usage(input_tokens=120, output_tokens=34, cached_tokens=100, reasoning_tokens=20)
    reply = Scripted("priced", usage=usage)
    frames = await kit.stream(reply)
    told = [e.usage for e in _events(frames) if isinstance(e, UsageReport)]
    _must(
        told and told[-1] == usage,
        "a stream that asks for usage reports the provider's",
        told,
    )
    seen = (await kit.whole(reply)).usage
    _must(seen == usage, "a completion reports the provider's usage", seen)
    for frame in frames:
        if frame.usage_only:
            only = all(isinstance(e, UsageReport) for e in frame.events)
            _must(only, "a usage_only frame carries nothing else", frame)


async def _missing_usage_is_not_made_up(kit: _Kit) -> None:
    reply = Scripted("what did it cost", report_usage=False)
    completion = await kit.whole(reply)
    _must(completion.usage is None, "usage that the provider did not tell is None", completion.usage)
    _must(completion.text == reply.text, "then the text is there, to estimate from", completion.text)
    told = [e for e in _events(await kit.stream(reply)) if isinstance(e, UsageReport)]
    _must(not told, "a stream without usage has no UsageReport", told)


async def _a_rejected_request_carries_status_and_body(kit: _Kit) -> None:
    body = b'{"error":{"message":"no such parameter","type":"invalid_request_error","param":"x","code":null}}'
    for stream in (True, False):
        error = await kit.error(Scripted(status=400, body=body), stream=stream)
        _must(isinstance(error, ProviderRejected), "400 raises ProviderRejected on entering", error)
        seen = (getattr(error, "status", 0), getattr(error, "body", b""))
        _must(seen == (400, body), "ProviderRejected carries status and body unchanged", seen)


async def _statuses_become_their_errors(kit: _Kit) -> None:
    wanted: tuple[tuple[int, type[ProviderError]], ...] = (
        (401, ProviderAuthFailed),
        (403, ProviderAuthFailed),
        (429, RateLimited),
        (500, ProviderFailed),
        (503, ProviderUnavailable),
        (529, ProviderUnavailable),
    )
    for status, kind in wanted:
        error = await kit.error(Scripted(status=status), stream=True)
        _must(type(error) is kind, f"status {status} raises {kind.__name__} on entering", error)


async def _retry_after_is_passed_on(kit: _Kit) -> None:
    error = await kit.error(Scripted(status=429, headers={"retry-after": "7"}), stream=False)
    seen = error and error.retry_after_s
    _must(seen == 7.0, "429 with Retry-After: 7 raises RateLimited with retry_after_s = 7", seen)
    error = await kit.error(Scripted(status=429), stream=False)
    seen = error and error.retry_after_s
    _must(error is not None and seen is None, "429 without Retry-After leaves retry_after_s None", seen)


async def _models_are_listed(kit: _Kit) -> None:
    async with kit.make(Script()) as rig:
        names = await rig.provider.models()
        _must(kit.model in names, f"models() lists {kit.model!r}", names)


async def _concurrent_replies_do_not_mix(kit: _Kit) -> None:
    seen: dict[str, str] = {}

    async def ask(provider: Provider, text: str) -> None:
        async with provider.open(kit.request(text)) as opened:
            seen[text] = _text(_events([frame async for frame in opened.frames()]))

    async with kit.make(Script()) as rig, asyncio.TaskGroup() as group:
        for number in range(16):
            group.create_task(ask(rig.provider, f"caller {number} says {'word ' * number}end"))
    mixed = {text: said for text, said in seen.items() if said != text}
    _must(len(seen) == 16 and not mixed, "concurrent streams get each their own answer", mixed)


async def _first_content(frames: AsyncIterator[Frame]) -> None:
    """Read until the first content; the iterator stays open."""
    async for frame in frames:
        if any(isinstance(event, ContentDelta) for event in frame.events):
            return


async def _cancelling_closes_upstream(kit: _Kit) -> None:
    begun = asyncio.Event()

    async def read(provider: Provider) -> None:
        async with provider.open(kit.request()) as opened:
            async for frame in opened.frames():
                if any(isinstance(event, ContentDelta) for event in frame.events):
                    begun.set()

    async with kit.make(Script([_STALLED])) as rig:
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(read(rig.provider))
            await begun.wait()
            at = time.monotonic()
            reading.cancel()
        _must(reading.cancelled(), "a cancelled task ends as cancelled", reading)
        await _closed(kit, rig, at)


async def _leaving_early_closes_upstream(kit: _Kit) -> None:
    async with kit.make(Script([_STALLED])) as rig:
        async with rig.provider.open(kit.request()) as opened:
            await _first_content(opened.frames())
            at = time.monotonic()
        await _closed(kit, rig, at)


async def _closed(kit: _Kit, rig: Rig, at: float) -> None:
    """Check that the upstream is left alone soon enough, or at least that leaving did not wait for it."""
    left_s = time.monotonic() - at
    _must(left_s < 1.0, "leaving does not wait for the rest of the answer", f"{left_s:.3f} s")
    if rig.in_flight is None:
        return
    # The count lives in another thread or process: nothing here could be awaited instead.
    while rig.in_flight() and time.monotonic() - at < 1.0:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    took_s = time.monotonic() - at
    _must(not rig.in_flight(), "leaving a reply closes its upstream connection", "still open after 1 s")
    _must(took_s <= kit.closes_within_s, f"it closes within {kit.closes_within_s:g} s", f"{took_s:.3f} s")


async def _a_closed_provider_can_be_closed_again(kit: _Kit) -> None:
    async with kit.make(Script()) as rig:
        await rig.provider.aclose()
        await rig.provider.aclose()


async def _raw_bytes_say_what_the_events_say(kit: _Kit) -> None:
    reply = Scripted(("Raw", " lane"), others=[Choice("again")], usage=Usage(input_tokens=3, output_tokens=4))
    frames = await kit.stream(reply)
    if not kit.raw:
        _must(
            not any(f.raw for f in frames), "a provider without a byte dialect leaves raw empty", frames[:1]
        )
        return
    for frame in frames:
        _must(
            frame.raw.endswith((b"\n\n", b"\r\n\r\n")), "each frame is whole, with its blank line", frame.raw
        )
    data = [line[5:].strip() for frame in frames for line in frame.raw.splitlines() if line[:5] == b"data:"]
    _must(data and data[-1] == b"[DONE]", "the bytes end with data: [DONE]", data[-1:])
    chunks = [msgspec.json.decode(d) for d in data[:-1]]
    events = _events(frames)
    for number in range(2):
        said = "".join(
            c["delta"].get("content") or "" for k in chunks for c in k["choices"] if c["index"] == number
        )
        _must(said == _text(events, number), f"bytes and events agree on choice {number}", said)
    used = [k["usage"]["completion_tokens"] for k in chunks if k.get("usage")]
    _must(used == [4], "bytes and events agree on usage", used)


_CHECKS: tuple[Callable[[_Kit], Awaitable[None]], ...] = (
    _a_stream_begins_with_started_and_ends_with_done,
    _deltas_add_up_to_the_whole_text,
    _tool_calls_arrive_whole,
    _finish_reasons_are_told,
    _usage_is_the_providers,
    _missing_usage_is_not_made_up,
    _a_rejected_request_carries_status_and_body,
    _statuses_become_their_errors,
    _retry_after_is_passed_on,
    _models_are_listed,
    _concurrent_replies_do_not_mix,
    _cancelling_closes_upstream,
    _leaving_early_closes_upstream,
    _a_closed_provider_can_be_closed_again,
    _raw_bytes_say_what_the_events_say,
)
