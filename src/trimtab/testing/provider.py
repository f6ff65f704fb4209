"""The fake provider in process: the scripts and faults of the fake server, without a socket."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec

from trimtab.types import (
    Completion,
    Frame,
    ProviderFault,
    ProviderSpec,
    Reply,
    ReplyHead,
    Request,
)
from trimtab.types.errors import (
    FirstByteTimeout,
    IdleTimeout,
    ProviderAuthFailed,
    ProviderError,
    ProviderFailed,
    ProviderRejected,
    ProviderUnavailable,
    RateLimited,
    all_errors,
)

from .fault import Fault
from .faults import find_fault
from .reply import Ask, Scripted
from .script import Answer, Script, as_script
from .wire.encode import completion, error_json, first_content, stream_frames
from .wire.plan import Pace, Scale

_STALLS = ("first_byte_timeout", "idle_timeout", "connect_timeout")


@dataclass(kw_only=True)
class FakeProvider:
    """A `types.Provider` that answers from a script.

    Without a byte dialect (the default) its frames carry events only; with `raw`, OpenAI's bytes too. It
    keeps the deadlines of each request. A fault that needs a socket raises what a correct provider reports.
    """

    name: str = "fake"
    script: Script | Answer | Sequence[Answer] | None = None
    fault: Fault | str = ""
    raw: bool = False
    scale: Scale = field(default_factory=Scale)
    model_names: Sequence[str] = ("fake-1",)
    requests: list[Request] = field(default_factory=list, init=False)
    in_flight: int = field(default=0, init=False)
    """How many replies are open right now."""
    closed: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._script = as_script(self.script)
        self._fault = find_fault(self.fault)
        self._struck = 0

    @asynccontextmanager
    async def open(self, request: Request) -> AsyncIterator[Reply]:
        """Answer a request from the script; see `types.Provider.open`."""
        try:
            body = {name: msgspec.json.decode(value) for name, value in request.body.items()}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ProviderRejected(f"the request cannot be read: {error}", status=400) from error
        ask = Ask(kind=request.kind, body=body | {"model": request.model}, number=len(self.requests))
        self.requests.append(request)
        reply = self._script.next(ask)
        fault = self._fault_of(reply)
        if fault and fault.change:
            reply = fault.change(reply, self.scale)
        self.in_flight += 1
        try:
            opened = _Open(request, ask, reply, fault, self)
            await opened.begin()
            yield opened
        finally:
            self.in_flight -= 1

    async def models(self) -> list[str]:
        """Return the names given as `model_names`."""
        return list(self.model_names)

    async def aclose(self) -> None:
        """Note that it was closed."""
        self.closed = True

    def _fault_of(self, reply: Scripted) -> Fault | None:
        if reply.fault:
            return find_fault(reply.fault)
        if self._fault is None or (self._fault.times and self._struck >= self._fault.times):
            return None
        self._struck += 1
        return self._fault


class _Open:
    """One open reply."""

    __slots__ = ("_ask", "_fault", "_provider", "_reply", "_request", "head")

    def __init__(
        self, request: Request, ask: Ask, reply: Scripted, fault: Fault | None, provider: FakeProvider
    ) -> None:
        self._request = request
        self._ask = ask
        self._reply = reply
        self._fault = fault
        self._provider = provider
        self.head = ReplyHead(
            status=reply.status,
            request_id=f"req_fake_{ask.number}",
            headers=tuple((k, v) for k, v in reply.headers.items() if k.startswith("x-ratelimit-")),
        )

    async def begin(self) -> None:
        """Wait for the head; raise what keeps it from coming."""
        limit = self._request.deadlines.first_byte_s
        await self.pause(self.pace.before_head_s, limit, FirstByteTimeout)
        await self.fail("connect", "before_head")
        if self._reply.status != 200:
            raise refused(self._reply)

    @property
    def pace(self) -> Pace:
        return self._reply.pace

    async def completion(self) -> Completion:
        await self.pause(self.pace.before_first_s, self._request.deadlines.idle_s, IdleTimeout)
        await self.fail("before_content", "after_content")
        return completion(self._ask, self._reply)

    async def frames(self) -> AsyncIterator[Frame]:
        made = stream_frames(self._ask, self._reply, include_usage=True)
        content_at, idle_s = first_content(made), self._request.deadlines.idle_s
        for number, frame in enumerate(made):
            await self.pause(self.pace.pause(number, content_at), idle_s, IdleTimeout)
            for moment, at in (("before_content", content_at), ("after_content", content_at + 1)):
                if number == at and (fault := self.reported(moment)):
                    yield fault
                    return
                if number == at:
                    await self.fail(moment)
            yield frame if self._provider.raw else msgspec.structs.replace(frame, raw=b"")

    async def pause(self, seconds: float, limit_s: float, late: type[ProviderError]) -> None:
        """Wait, but raise when that takes longer than the deadline."""
        if seconds <= 0:
            return
        await asyncio.sleep(min(seconds, limit_s))
        if seconds > limit_s:
            raise late(
                f"the fake provider is scripted to pause {seconds:g} s, past the deadline of {limit_s:g} s"
            )

    def reported(self, moment: str) -> Frame | None:
        """Return the error event that the fault sends at this moment, if it sends one."""
        fault = self._fault
        if fault is None or fault.strikes != moment or fault.expect[:1] != ("provider_stream_error",):
            return None
        raw = b"data: " + error_json(500, None) + b"\n\n" if self._provider.raw else b""
        return Frame(raw, (ProviderFault("The server had an error.", ""),))

    async def fail(self, *moments: str) -> None:
        """Raise what a correct provider reports, if the fault strikes now."""
        fault = self._fault
        if fault is None or fault.strikes not in moments or not fault.expect or fault.change:
            return
        if ("stream" if self._request.stream else "whole") not in fault.lanes:
            return
        code = fault.expect[0]
        if code in _STALLS:
            limits = self._request.deadlines
            limit_s = dict(zip(_STALLS, (limits.first_byte_s, limits.idle_s, limits.connect_s), strict=True))[
                code
            ]
            await asyncio.sleep(min(limit_s, self._provider.scale.stall_s))
        kind = next(e for e in all_errors() if e.code == code)
        raise kind(f"fake provider, fault {fault.name!r}: {fault.what}")


def refused(reply: Scripted) -> ProviderError:
    """Return the error that a scripted status means."""
    status = reply.status
    body = error_json(status, reply.error) if reply.body is None else reply.body
    message = f"the fake provider is scripted to answer {status}: {body[:200].decode('utf-8', 'replace')}"
    given = {name.lower(): value for name, value in reply.headers.items()}.get("retry-after")
    pause = float(given) if given else None
    if status == 429:
        return RateLimited(message, retry_after_s=pause)
    if status in (503, 529):
        return ProviderUnavailable(message, retry_after_s=pause)
    if status in (401, 403):
        return ProviderAuthFailed(message)
    if 400 <= status < 500:
        return ProviderRejected(message, status=status, body=body)
    return ProviderFailed(message)


class _Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `options` of a configured fake provider may hold."""

    raw: bool = True
    fault: str = ""
    replies: tuple[Scripted | str, ...] = ()
    scale: Scale = Scale()


def provider(spec: ProviderSpec, context: object) -> FakeProvider:
    """Make a fake provider from a configuration: `kind = "fake"`, for demonstrations and dry runs.

    Args:
        spec: its `options` may hold `replies` (texts, or tables of `Scripted`), `fault`, `raw`, `scale`.
        context: not used.

    Raises:
        ConfigError: the options cannot be used.
    """
    from trimtab.types.errors import ConfigError

    try:
        options = msgspec.convert(spec.options, _Options)
        return FakeProvider(
            name=spec.name,
            script=Script(options.replies),
            fault=options.fault,
            raw=options.raw,
            scale=options.scale,
            model_names=spec.models or ("fake-1",),
        )
    except ValueError as e:  # msgspec's ValidationError is one too
        raise ConfigError(f"providers.{spec.name}.options of the fake provider: {e}") from e
