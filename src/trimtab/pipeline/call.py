"""One call from its opening to its end: parse → resolve → open → attempt → stream → record."""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING

from trimtab.types import Closed, Done, Frame, Opened, TrimtabError
from trimtab.types.errors import ClientGone, StreamCut

from .ask import Ask, Parsed, parse
from .attempt import Attempts
from .record import Outcome, closed_record, opened_record
from .stages import DONE, RawLane, TypedLane, error_event
from .state import Plan, State
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
        "_attempts",
        "_began",
        "_closed",
        "_core",
        "_follower",
        "_keep",
        "_watch",
        "ask",
        "body",
        "call_id",
        "opened",
        "outcome",
        "parsed",
        "plan",
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
        self.outcome = Outcome()
        self.parsed: Parsed
        self.plan: Plan
        self.opened: Opened | None = None
        self._attempts: Attempts | None = None
        self._began = 0.0
        """When it was opened, on the monotonic clock."""
        self._closed = False
        self._follower: asyncio.Task[None] | None = None
        self._keep = core.keep(ask.caller.payload)
        self._watch: Watch | None = None

    @property
    def reply_headers(self) -> tuple[tuple[str, str], ...]:
        """The provider's headers worth passing on, such as its rate limits."""
        return self._attempts.reply_headers if self._attempts is not None else ()

    # --- entering and leaving -------------------------------------------------------------------------------

    async def __aenter__(self) -> "LiveCall":
        """Make the call as far as its status can still change.

        Raises:
            CallerError: the request is at fault; nothing was recorded or asked.
            LedgerUnavailable: it cannot be recorded, and the policy is to refuse.
            ProviderError: no target and no fallback gave an answer.
            ClientGone: the client went away.
        """
        core, ask, policy = self._core, self.ask, self.state.policy
        sweeper = core.sweeper()
        loop = sweeper.loop
        self.parsed = parsed = parse(ask, core.params_hash)
        self.call_id = core.ids.next()
        sticky = parsed.user or ask.session or self.call_id
        self.plan = plan = self.state.resolve(parsed.model, sticky)
        if plan.defaults:
            for name, value in plan.defaults.items():
                parsed.fields.setdefault(name, value)
        at = core.clock.monotonic()
        self.opened = opened = self._opening()
        if not core.recorder.write_now(opened, "unrecorded_opened"):
            await core.recorder.write(opened, "unrecorded_opened")
        core.counts.add_named("opened")
        follow = self._start_following if ask.gone is not None else None
        self._watch = watch = Watch(loop, policy.deadlines.total_s, follow)
        self._attempts = attempts = Attempts(core, plan, parsed, self.outcome, sweeper, watch)
        sweeper.add(watch)
        try:
            await attempts.run(ask.kind, self.call_id, at)
            if attempts.completion is not None:
                self.body = attempts.completion.body
                if (closed := self._close()) is not None:
                    await core.recorder.write(closed, "unrecorded_closed")
        except BaseException as error:  # whatever ends a call is recorded, a cancellation too
            await self._fail(error)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop what still runs; an unfinished stream is recorded as cancelled."""
        if not self._closed:
            await self._fail(error if error is not None else ClientGone(_GONE))
        elif self._follower is not None or (self._attempts is not None and self._attempts.open):
            await self._let_go()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the stream as the client's dialect writes it. The end marker comes after the record.

        Raises:
            ProviderError: the stream broke; an error event was yielded first, and no end marker follows.
            ClientGone: the client went away.
        """
        attempts, watch = self._attempts, self._watch
        assert attempts is not None, "enter the call first"
        assert watch is not None, "enter the call first"
        # One generator, not one a concern: each would be entered and left once more for every piece.
        try:
            lane, first, ended = self._held(attempts)
            if first:
                yield first
            if not ended:
                assert attempts.frames is not None, "the attempt left its frames"
                attempts.await_pieces()
                async for frame in attempts.frames:
                    ended = attempts.note(frame)
                    data = lane.encode(frame).removesuffix(DONE) if ended else lane.encode(frame)
                    if data:
                        watch.paused = True  # a slow reader's time is not the provider's
                        yield data
                        watch.paused = False
                    watch.steps += 1
                    if ended:
                        break
                else:
                    raise StreamCut("the provider's stream ended without its end marker")  # noqa: TRY301 - recorded below
            if (closed := self._close()) is not None:
                await self._core.recorder.write(closed, "unrecorded_closed")
        except BaseException as error:  # whatever ends a call is recorded, a cancellation too
            cause = watch.cause() if isinstance(error, asyncio.CancelledError) else None
            await self._fail(cause or error)
            if cause is None and not isinstance(error, Exception):
                raise
            ours = _as_ours(cause or error)  # a fault of our own ends a stream as explicitly as a provider's
            if not isinstance(ours, ClientGone):
                yield error_event(ours.message, ours.code, ours.kind)
            raise ours from error
        yield DONE

    def _held(self, attempts: Attempts) -> tuple[RawLane | TypedLane, bytes, bool]:
        """Return the stream's lane, what it makes of the frames up to the first content, and whether that is all."""
        held, attempts.held = attempts.held, ()
        lane = (RawLane if held[-1].raw else TypedLane)(wants_usage=self.parsed.wants_usage)
        first = b"".join([lane.encode(frame) for frame in held])
        if _is_done(held[-1]):
            return lane, first.removesuffix(DONE), True
        return lane, first, False

    # --- records --------------------------------------------------------------------------------------------

    def _opening(self) -> Opened:
        now_us = self._core.clock.now_us()
        self._began = self._core.clock.monotonic()
        return opened_record(self.call_id, now_us, self.ask, self.parsed, self.plan, self._keep)

    def _settle(self) -> None:
        """Take into the outcome what the stream's tally knows."""
        attempts, outcome = self._attempts, self.outcome
        tally = attempts.tally if attempts is not None else None
        if tally is None:
            return
        started = tally.started
        if started is not None:
            outcome.response_id = started.response_id
            outcome.model_served = started.model
            outcome.fingerprint = started.fingerprint
        outcome.finish_reason = tally.finish_reason()
        outcome.usage = tally.usage
        if tally.usage is None:
            outcome.text = tally.text
        if not tally.empty:
            outcome.response = tally.completion()

    def _closing(self) -> Closed:
        opened = self.opened
        assert opened is not None, "an unopened call is never closed"
        # Not the wall clock's time: it may have been set meanwhile, and a call would end before it began.
        now_us = opened.opened_us + int((self._core.clock.monotonic() - self._began) * 1e6)
        if self.parsed.stream:
            self._settle()
        return closed_record(opened, self.outcome, now_us, self.state.catalog, self.ask, self._keep)

    def _close(self) -> Closed | None:
        """Record a good end; return the record where its writing must be awaited.

        Raises:
            LedgerUnavailable: it cannot be written, and the policy is to refuse.
        """
        if self._watch is not None:
            self._core.sweeper().remove(self._watch)
        closed = self._closing()
        assert self.opened is not None, "it has an end"
        self._closed = True
        written = self._core.recorder.write_now(closed, "unrecorded_closed")
        self._core.count(closed, self.opened)
        return None if written else closed

    async def _fail(self, error: BaseException) -> None:
        """Record a bad end, once, and let the provider go."""
        try:
            if not self._closed:
                self._closed = True
                ours, outcome = _as_ours(error), self.outcome
                outcome.state = "cancelled" if isinstance(ours, ClientGone) else "error"
                outcome.status, outcome.error_code, outcome.error_message = (
                    ours.status,
                    ours.code,
                    ours.message,
                )
                if self.ask.caller.payload != "full":
                    outcome.error_message = ""  # it may quote what the provider answered
                closed = self._closing()
                assert self.opened is not None, "it has an end"
                self._core.recorder.write_at_once(closed, "unrecorded_closed")
                self._core.count(closed, self.opened)
        finally:
            await self._let_go()

    # --- letting go -----------------------------------------------------------------------------------------

    async def _let_go(self) -> None:
        if self._watch is not None:
            self._core.sweeper().remove(self._watch)
        follower, self._follower = self._follower, None
        if follower is not None:
            follower.cancel()
        if self._attempts is not None and self._attempts.open:
            await self._attempts.drop()

    def _start_following(self, watch: Watch) -> None:
        """Begin to wait for the client's going; only calls that outlast one sweep pay for it."""
        # The reference is kept, and the task is cancelled when the call lets go: it cannot be lost.
        self._follower = self._core.sweeper().loop.create_task(self._follow(watch))

    async def _follow(self, watch: Watch) -> None:
        assert self.ask.gone is not None, "only started where somebody can tell"
        await self.ask.gone()
        watch.client_gone()


_GONE = "the client closed its connection before the answer was complete"


def _is_done(frame: Frame) -> bool:
    return any(type(event) is Done for event in frame.events)


def _as_ours(error: BaseException) -> TrimtabError:
    if isinstance(error, TrimtabError):
        return error
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return ClientGone(_GONE)
    return TrimtabError(f"an internal error ended the call: {type(error).__name__}")
