"""One call from its opening to its end: resolve → open → attempt → stream → record."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType
from typing import TYPE_CHECKING

import msgspec

from trimtab.types import (
    Attempt,
    Closed,
    Completion,
    Done,
    Frame,
    Opened,
    ProviderFault,
    Reply,
    Request,
    TrimtabError,
    new_id,
)
from trimtab.types.errors import (
    ClientGone,
    EmptyReply,
    FirstByteTimeout,
    IdleTimeout,
    LedgerUnavailable,
    ProviderError,
    StreamCut,
    StreamError,
)

from .ask import Ask, Parsed, parse
from .record import Outcome, closed_record, opened_record
from .stages import DONE, RawLane, Tally, TypedLane, error_event
from .state import ModelPlan, Plan, State, Target
from .watch import Watch

if TYPE_CHECKING:
    from .core import Core


class LiveCall:
    """A call being made. Enter it: then `body` holds an unstreamed answer, or `chunks()` yields a streamed one.

    Entering waits for the whole answer, or for a stream's first content, so that whatever fails before it is still
    an error with a status. Everything is recorded: the opening before a provider is asked, the end before the last
    byte is handed out.
    """

    __slots__ = (
        "_at",
        "_busy",
        "_closed",
        "_core",
        "_follower",
        "_frames",
        "_held",
        "_lane",
        "_reply",
        "_tally",
        "_target",
        "_watch",
        "ask",
        "body",
        "call_id",
        "opened",
        "outcome",
        "parsed",
        "plan",
        "reply_headers",
        "state",
        "streaming",
    )

    def __init__(self, core: "Core", ask: Ask) -> None:
        self._core = core
        self.ask = ask
        self.state: State = core.state
        self.call_id = ""
        self.body = b""
        self.streaming = False
        """Set by whoever hands the stream on, once its status can no longer change."""
        self.reply_headers: tuple[tuple[str, str], ...] = ()
        self.outcome = Outcome()
        self.parsed: Parsed
        self.plan: Plan
        self.opened: Opened | None = None
        self._at = 0.0
        self._busy: Target | None = None
        self._closed = False
        self._follower: asyncio.Task[None] | None = None
        self._frames: AsyncIterator[Frame] | None = None
        self._held: list[Frame] = []
        self._lane: RawLane | TypedLane | None = None
        self._reply: AbstractAsyncContextManager[Reply] | None = None
        self._tally = Tally()
        self._target: Target | None = None
        self._watch: Watch

    # --- entering and leaving -------------------------------------------------------------------------------

    async def __aenter__(self) -> "LiveCall":
        """Make the call as far as its status can still change.

        Raises:
            CallerError: the request is at fault; nothing was recorded or asked.
            LedgerUnavailable: it cannot be recorded, and the policy is to refuse.
            ProviderError: no target and no fallback gave an answer.
            ClientGone: the client went away.
        """
        core = self._core
        self.parsed = parsed = parse(self.ask)
        self.call_id = new_id()
        sticky = parsed.user or self.ask.session or self.call_id
        self.plan = self.state.resolve(parsed.model, sticky)
        for name, value in self.plan.defaults.items():
            parsed.fields.setdefault(name, value)
        loop = asyncio.get_running_loop()
        self._at = loop.time()
        await self._open()
        follow = self._start_following if self.ask.gone is not None else None
        self._watch = watch = Watch(self.state.policy.deadlines.total_s, follow)
        core.sweeper.add(watch)
        try:
            await self._attempt_all(loop)
            if not parsed.stream:
                await self._close("ok")
        except BaseException as error:
            await self._fail(error)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop what still runs; an unfinished stream is recorded as cancelled."""
        try:
            if not self._closed:
                self._close_at_once(error if isinstance(error, TrimtabError) else _gone())
        finally:
            await self._let_go()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the stream as the client's dialect writes it. The end marker comes after the record.

        Raises:
            ProviderError: the stream broke; an error event was yielded first, and no end marker follows.
            ClientGone: the client went away.
        """
        try:
            lane, tally = self._lane, self._tally
            assert lane is not None, "enter the call first"
            held, self._held = self._held, []
            first = b"".join([lane.encode(frame) for frame in held if type(frame) is Frame])
            ended = held and _is_done(held[-1])
            if ended:
                first = first.removesuffix(DONE)
            if first:
                yield first
            if not ended:
                async for data in self._rest(lane, tally):
                    yield data
        except ProviderError as error:
            await self._fail(error)
            yield error_event(error.message, error.code, error.kind)
            raise
        except BaseException as error:
            await self._fail(error)
            raise
        try:
            await self._close("ok")
        except LedgerUnavailable as error:
            yield error_event(error.message, error.code, error.kind)
            raise
        yield DONE

    async def _rest(self, lane: RawLane | TypedLane, tally: Tally) -> AsyncIterator[bytes]:
        """Yield what comes after the first content; return at the provider's end marker."""
        loop, watch, frames = asyncio.get_running_loop(), self._watch, self._frames
        assert frames is not None, "the attempt left its frames"
        idle_s, error = self._idle()
        watch.arm(idle_s, error, loop.time())
        try:
            async for frame in frames:
                for event in frame.events:
                    kind = type(event)
                    if kind is Done:
                        return
                    if kind is ProviderFault:
                        raise StreamError(f"the provider reported: {event.message}")  # type: ignore[union-attr]
                    tally.add(event)
                data = lane.encode(frame)
                if data:
                    watch.disarm()  # a slow reader's time is not the provider's
                    yield data
                watch.arm(idle_s, error, loop.time())
        except asyncio.CancelledError:
            watch.raise_for()
            raise
        raise StreamCut("the provider's stream ended without its end marker")

    # --- attempts -------------------------------------------------------------------------------------------

    async def _attempt_all(self, loop: asyncio.AbstractEventLoop) -> None:
        """Try the release's model, then its fallbacks, in order.

        Raises:
            ProviderError: the last one's error.
        """
        models = self.plan.models
        for position, model in enumerate(models):
            last = position == len(models) - 1
            try:
                await self._attempt_model(model, loop)
            except ProviderError as error:
                if last or not error.elsewhere or loop.time() >= self._watch.total():
                    raise
                self._core.counts.add_named("fallbacks")
            else:
                self.outcome.degraded = self._degraded(position)
                return

    async def _attempt_model(self, model: ModelPlan, loop: asyncio.AbstractEventLoop) -> None:
        """Try a model's targets: another one at once, the same one after a pause."""
        retry = self.state.policy.retry
        avoid: set[int] = set()
        tries = 0
        while True:
            target = model.pick(loop.time(), avoid)
            assert target is not None, "a model has a target, and the last one is never avoided"
            try:
                await self._attempt(target, loop)
            except ProviderError as error:
                target.failed(loop.time())
                tries += 1
                if not error.retryable:
                    avoid.add(id(target))
                others = any(t is not target and id(t) not in avoid for t in model.targets)
                if not error.elsewhere or tries >= retry.attempts * len(model.targets):
                    raise
                if not others:
                    if not error.retryable or tries >= retry.attempts * (len(model.targets) - len(avoid)):
                        raise
                    await self._pause(error, tries, loop)
                self._core.counts.add_named("retries")
            else:
                target.worked()
                return

    async def _pause(self, error: ProviderError, tries: int, loop: asyncio.AbstractEventLoop) -> None:
        """Wait as long as the provider asks, or with full jitter; raise `error` where that would be too long."""
        retry = self.state.policy.retry
        pause = random.uniform(0, min(retry.backoff_max_s, retry.backoff_s * 2 ** (tries - 1)))  # noqa: S311 - jitter
        if error.retry_after_s is not None:
            if error.retry_after_s > retry.retry_after_max_s:
                raise error
            pause = max(pause, error.retry_after_s)
        if loop.time() + pause >= self._watch.total():
            raise error
        self._watch.disarm()
        try:
            await asyncio.sleep(pause)
        except asyncio.CancelledError:
            self._watch.raise_for()
            raise

    async def _attempt(self, target: Target, loop: asyncio.AbstractEventLoop) -> None:
        """Ask one target once, and note how it went."""
        began = loop.time()
        code, status = "", 0
        target.in_flight += 1
        self._target = self._busy = target
        self._core.counts.add_named("upstream_attempts")
        outcome = self.outcome
        outcome.model = target.label
        outcome.provider = target.provider.name
        try:
            await self._ask_target(target, loop)
            status = 200
        except TrimtabError as error:
            code, status = error.code, error.status if isinstance(error, ProviderError) else 0
            await self._drop_reply()
            raise
        finally:
            took = loop.time() - began
            offset = int((began - self._at) * 1e6)
            outcome.attempts.append(Attempt(target.label, offset, int(took * 1e6), code, status))

    async def _ask_target(self, target: Target, loop: asyncio.AbstractEventLoop) -> None:
        parsed, watch, outcome = self.parsed, self._watch, self.outcome
        fields = parsed.fields
        fields["model"] = target.model_json
        limits = target.deadlines
        request = Request(
            kind=self.ask.kind,
            model=target.name,
            body=fields,
            stream=parsed.stream,
            deadlines=limits,
            call_id=self.call_id,
        )
        first_byte_s = limits.first_byte_s
        watch.follow(None)
        watch.arm(
            first_byte_s,
            lambda: FirstByteTimeout(f"{target.label} sent nothing within its first-byte deadline of {first_byte_s:g} s"),
            loop.time(),
        )
        try:
            self._reply = context = target.provider.open(request)
            reply = await context.__aenter__()
            outcome.request_id = reply.head.request_id
            self.reply_headers = reply.head.headers
            watch.follow(getattr(reply, "received", None))
            idle_s, error = self._idle()
            watch.arm(idle_s, error, loop.time())
            if parsed.stream:
                await self._prime(reply)
            else:
                self._take(await reply.completion(), loop)
                await self._drop_reply()
        except asyncio.CancelledError:
            watch.raise_for()
            raise
        finally:
            watch.disarm()

    def _take(self, completion: Completion, loop: asyncio.AbstractEventLoop) -> None:
        outcome = self.outcome
        self.body = outcome.response = completion.body
        outcome.first_byte_us = int((loop.time() - self._at) * 1e6)
        outcome.response_id = completion.response_id
        outcome.model_served = completion.model
        outcome.fingerprint = completion.fingerprint
        outcome.finish_reason = completion.finish_reason
        outcome.usage = completion.usage
        outcome.text = completion.text

    async def _prime(self, reply: Reply) -> None:
        """Read a stream up to its first content: until then another target may still take over unseen."""
        self._tally = tally = Tally()
        self._held = held = []
        self._frames = frames = reply.frames()
        async for frame in frames:
            held.append(frame)
            for event in frame.events:
                kind = type(event)
                if kind is ProviderFault:
                    raise StreamError(f"the provider reported: {event.message}")  # type: ignore[union-attr]
                if kind is Done:
                    if tally.empty:
                        raise EmptyReply("the provider's stream ended without any choice in it")
                else:
                    tally.add(event)
            if tally.content_seen or tally.finishes:
                self.outcome.first_byte_us = int((asyncio.get_running_loop().time() - self._at) * 1e6)
                lane = RawLane if frame.raw else TypedLane
                self._lane = lane(wants_usage=self.parsed.wants_usage)
                return
        raise StreamCut("the provider's stream ended before its first content")

    def _idle(self) -> tuple[float, Callable[[], TrimtabError]]:
        target = self._target
        assert target is not None, "there is an attempt"
        idle_s = target.deadlines.idle_s
        return idle_s, lambda: IdleTimeout(f"{target.label} paused for longer than its idle deadline of {idle_s:g} s")

    def _degraded(self, position: int) -> bool:
        """Tell whether a stand-in of lesser quality answered: `degraded_mode` is a fact of its provider."""
        target = self._target
        stands_in = position > 0 or self.plan.substituted
        return stands_in and bool(target and getattr(target.provider, "degraded_mode", False))

    # --- records --------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        core = self._core
        keep = core.keep(self.ask.caller.payload)
        opened_us = core.clock.now_us()
        self.opened = opened_record(self.call_id, opened_us, self.ask, self.parsed, self.plan, keep)
        await core.recorder.write(self.opened, "unrecorded_opened")
        core.counts.add_named("opened")

    def _settle(self) -> None:
        """Take into the outcome what the stream's tally knows."""
        if not self.parsed.stream:
            return
        tally, outcome = self._tally, self.outcome
        started = tally.started
        if started is not None:
            outcome.response_id = started.response_id
            outcome.model_served = started.model
            outcome.fingerprint = started.fingerprint
        outcome.finish_reason = tally.finish_reason()
        outcome.usage = tally.usage
        if tally.usage is None:
            outcome.text = tally.text
        if tally.content_seen or tally.finishes:
            outcome.response = tally.completion()

    def _closing(self) -> Closed:
        core, opened = self._core, self.opened
        assert opened is not None, "an unopened call is never closed"
        self._settle()
        keep = core.keep(self.ask.caller.payload)
        closed = closed_record(opened, self.outcome, core.clock.now_us(), self.state.catalog, self.ask, keep)
        core.count(closed, opened)
        return closed

    async def _close(self, state: str) -> None:
        """Record the end.

        Raises:
            LedgerUnavailable: it cannot be written, and the policy is to refuse.
        """
        self._closed = True
        self._core.sweeper.remove(self._watch)
        await self._core.recorder.write(self._closing(), "unrecorded_closed")

    def _close_at_once(self, error: TrimtabError) -> None:
        self._closed = True
        outcome = self.outcome
        outcome.state = "cancelled" if isinstance(error, ClientGone) else "error"
        outcome.status, outcome.error_code, outcome.error_message = error.status, error.code, error.message
        self._core.sweeper.remove(self._watch)
        self._core.recorder.write_at_once(self._closing(), "unrecorded_closed")

    async def _fail(self, error: BaseException) -> None:
        """Record a failed end once, and let the provider go."""
        try:
            if not self._closed:
                self._close_at_once(_as_ours(error))
        finally:
            await self._let_go()

    # --- letting go -----------------------------------------------------------------------------------------

    async def _drop_reply(self) -> None:
        """Close the provider's reply: pooled if it was read whole, else its socket is closed."""
        busy, self._busy = self._busy, None
        if busy is not None:
            busy.in_flight -= 1
        frames, self._frames = self._frames, None
        reply, self._reply = self._reply, None
        if frames is not None and hasattr(frames, "aclose"):
            with suppress(ProviderError):
                await frames.aclose()
        if reply is not None:
            await reply.__aexit__(None, None, None)

    async def _let_go(self) -> None:
        self._core.sweeper.remove(self._watch)
        follower, self._follower = self._follower, None
        if follower is not None:
            follower.cancel()
        await self._drop_reply()

    def _start_following(self, watch: Watch) -> None:
        """Begin to wait for the client's going; only calls that outlast one sweep pay for it."""
        # The reference is kept, and the task is cancelled when the call lets go: it cannot be lost.
        self._follower = asyncio.get_running_loop().create_task(self._follow(watch))

    async def _follow(self, watch: Watch) -> None:
        assert self.ask.gone is not None, "only started where somebody can tell"
        await self.ask.gone()
        watch.client_gone()


def _is_done(frame: Frame) -> bool:
    return any(type(event) is Done for event in frame.events)


def _gone() -> ClientGone:
    return ClientGone("the client closed its connection before the answer was complete")


def _as_ours(error: BaseException) -> TrimtabError:
    if isinstance(error, TrimtabError):
        return error
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return _gone()
    return TrimtabError(f"an internal error ended the call: {type(error).__name__}")
