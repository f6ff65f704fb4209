"""One call from its opening to its end: parse → resolve → open → attempt → stream → record."""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING

from trimtab.limits import Grant
from trimtab.types import Closed, Done, Frame, Opened, TrimtabError
from trimtab.types.errors import ClientGone, ProviderError, StreamCut

from .ask import Ask, Parsed, parse
from .attempts import Attempts, Try
from .cache import NOTHING_USED, Kept, KeptLane, Slot, reply_key, ttl_s
from .record import Outcome, closed_record, opened_record
from .stages import DONE, Lane, RawLane, TypedLane, error_event
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
        "_began",
        "_closed",
        "_core",
        "_follower",
        "_keep",
        "_watch",
        "_won",
        "ask",
        "body",
        "call_id",
        "grant",
        "opened",
        "outcome",
        "parsed",
        "plan",
        "slot",
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
        self.grant: Grant | None = None
        """What limits and budgets let it in for; None where none holds."""
        self._won: Try | None = None
        """The attempt that has the answer."""
        self._began = 0.0
        """When it was opened, on the monotonic clock."""
        self._closed = False
        self._follower: asyncio.Task[None] | None = None
        self._keep = core.keep(ask.caller.payload)
        self.slot: Slot | None = None
        """The call's place in the cache, where its reply may be given again."""
        self._watch: Watch | None = None

    @property
    def reply_headers(self) -> tuple[tuple[str, str], ...]:
        """The provider's headers worth passing on, such as its rate limits."""
        won = self._won
        return won.reply_headers if won is not None else ()

    # --- entering and leaving -------------------------------------------------------------------------------

    async def __aenter__(self) -> "LiveCall":
        """Make the call as far as its status can still change.

        Raises:
            CallerError: the request is at fault; nothing was recorded or asked.
            LimitExceeded: a limit or a budget refuses it; nothing was recorded or asked.
            LedgerUnavailable: it cannot be recorded, and the policy is to refuse.
            ProviderError: no target and no fallback gave an answer.
            ClientGone: the client went away.
        """
        core, ask, policy = self._core, self.ask, self.state.policy
        sweeper = core.sweeper()
        loop = sweeper.loop
        parsed, plan = self._resolved()
        gate = self.state.gate
        if gate is not None and (asks := gate.asks(core, ask, parsed, plan)) is not None:
            assert core.limiter is not None, "a core with rules has a limiter"
            self.grant = core.limiter.admit_now(*asks) or await core.limiter.admit(*asks, ask.gone)
        at = core.clock.monotonic()
        opened = self._opening()
        try:
            if not core.recorder.write_now(opened, "unrecorded_opened"):
                await core.recorder.write(opened, "unrecorded_opened")
        except BaseException:  # nothing was asked: whatever it is, nothing is held any more
            self._settle_grant(0, 0)
            raise
        self.opened = opened  # only now: what was refused has no id that anybody could look up
        core.counts.add_named("opened")
        if (kept := self._found()) is not None:
            if (closed := self._replayed(kept)) is not None:
                await core.recorder.write(closed, "unrecorded_closed")
            return self
        follow = self._start_following if ask.gone is not None else None
        self._watch = watch = Watch(loop, policy.deadlines.total_s, follow)
        attempts = Attempts(core, plan, parsed, self.outcome, sweeper, watch)
        sweeper.add(watch)
        try:
            self._won = won = await attempts.run(ask.kind, self.call_id, at)
            if won.completion is not None:
                self.body = won.completion.body
                if self.slot is not None:
                    self.slot.keep(ask.kind, self.body, self.outcome)
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
        elif self._follower is not None or (self._won is not None and self._won.open):
            await self._let_go()

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the stream as the client's dialect writes it. The end marker comes after the record.

        Raises:
            ProviderError: the stream broke; an error event was yielded first, and no end marker follows.
            ClientGone: the client went away.
        """
        return self._again() if self.outcome.cache_hit else self._relayed()

    async def _again(self) -> AsyncIterator[bytes]:
        """Yield a stream that was kept; it was recorded when the call was entered."""
        yield self.body
        yield DONE

    async def _relayed(self) -> AsyncIterator[bytes]:
        won, watch = self._won, self._watch
        assert won is not None, "enter the call first"
        assert watch is not None, "enter the call first"
        # One generator, not one a concern: each would be entered and left once more for every piece.
        try:
            lane, first, ended = self._held(won)
            if first:
                yield first
            if not ended:
                assert won.frames is not None, "the attempt left its frames"
                won.await_pieces()
                async for frame in won.frames:
                    ended = won.note(frame)
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
            await self._end_stream()
        except BaseException as error:  # whatever ends a call is recorded, a cancellation too
            cause = watch.cause() if isinstance(error, asyncio.CancelledError) else None
            await self._fail(cause or error)
            if cause is None and not isinstance(error, Exception):
                raise
            cause = _as_ours(cause or error)  # a fault of our own ends a stream as explicitly as a provider's
            if not isinstance(cause, ClientGone):
                yield error_event(cause.message, cause.code, cause.kind)
            if cause is not error:
                raise cause from error
            raise
        finally:
            cause = None  # its traceback holds this frame: a cycle would keep the call until it is collected
        yield DONE

    async def _end_stream(self) -> None:
        """Record a stream that has ended well, and keep it where it may be given again."""
        if (closed := self._close()) is not None:
            await self._core.recorder.write(closed, "unrecorded_closed")
        if self.slot is not None:
            self.slot.keep(self.ask.kind, b"", self.outcome)

    def _held(self, won: Try) -> tuple[Lane, bytes, bool]:
        """Return the stream's lane, what it makes of the frames up to the first content, and whether that is all."""
        held, won.held = won.held, ()
        lane: Lane = (RawLane if held[-1].raw else TypedLane)(wants_usage=self.parsed.wants_usage)
        if self.slot is not None:
            lane = KeptLane(lane, self.slot)
        first = b"".join([lane.encode(frame) for frame in held])
        if _is_done(held[-1]):
            return lane, first.removesuffix(DONE), True
        return lane, first, False

    def _found(self) -> Kept | None:
        """Return the reply that may be given again, if the call may have one and there is one."""
        core, ask, plan = self._core, self.ask, self.plan
        ttl = ttl_s(ask.caller, plan, ask.cache)
        if not ttl:
            return None
        key = reply_key(ask.caller, ask.kind, plan, self.parsed)
        self.slot = slot = Slot(core.cache, key, ttl, core.clock.now_us, reads=ask.cache != "no-cache")
        return slot.look()

    def _replayed(self, kept: Kept) -> Closed | None:
        """Answer with a reply that was kept: nobody is asked, and nothing is billed. Return as `_close` does."""
        outcome = self.outcome
        outcome.cache_hit = True
        outcome.cost_nusd, outcome.usage = 0, NOTHING_USED
        outcome.response = kept.response
        outcome.model, outcome.model_served = kept.model, kept.model_served
        outcome.provider, outcome.response_id = kept.provider, kept.response_id
        outcome.fingerprint, outcome.finish_reason = kept.fingerprint, kept.finish_reason
        outcome.first_byte_us = int((self._core.clock.monotonic() - self._began) * 1e6)
        self.body = kept.body
        self._core.counts.add_named("cache_hits")
        return self._close()

    def _resolved(self) -> tuple[Parsed, Plan]:
        """Read the request, and find out what it asks for."""
        core, ask = self._core, self.ask
        self.parsed = parsed = parse(ask, core.params_hash)
        self.call_id = core.ids.next()
        sticky = parsed.user or ask.session or self.call_id
        self.plan = plan = self.state.resolve(parsed.model, sticky)
        if plan.defaults:
            for name, value in plan.defaults.items():
                parsed.fields.setdefault(name, value)
        return parsed, plan

    # --- records --------------------------------------------------------------------------------------------

    def _opening(self) -> Opened:
        now_us = self._core.clock.now_us()
        reserved = self.grant.reserved_nusd if self.grant is not None else 0
        self._began = self._core.clock.monotonic()
        return opened_record(self.call_id, now_us, self.ask, self.parsed, self.plan, self._keep, reserved)

    def _settle(self) -> None:
        """Take into the outcome what the stream's tally knows."""
        won, outcome = self._won, self.outcome
        tally = won.tally if won is not None else None
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
        self._settle_by(closed)
        return None if written else closed

    async def _fail(self, error: BaseException) -> None:
        """Record a bad end, once, and let the provider go."""
        try:
            if not self._closed:
                self._closed = True
                ours, outcome = _as_ours(error), self.outcome
                if self._won is not None and isinstance(ours, ProviderError):
                    self._won.broke(ours)
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
                self._settle_by(closed)
        finally:
            if self.grant is not None:  # its end could not be written: it counts as what was held
                self._settle_grant(0, self.grant.reserved_nusd)
            await self._let_go()

    def _settle_by(self, closed: Closed) -> None:
        """Settle at what the record says."""
        if (grant := self.grant) is not None:
            usage, cost_nusd = closed.usage, closed.cost_nusd
            if usage.tier and not closed.price_version:
                # A tier without a price: its caller must not have chosen what no budget counts.
                cost_nusd = grant.reserved_nusd
            self._settle_grant(usage.input_tokens + usage.output_tokens, cost_nusd)

    def _settle_grant(self, tokens: int, cost_nusd: int) -> None:
        """Tell the limiter what it came to, once it is recorded: a crash in between counts what was held."""
        limiter = self._core.limiter
        if self.grant is not None and limiter is not None:
            limiter.settle(self.grant, tokens, cost_nusd, alarm=self.ask.purpose == "live")

    # --- letting go -----------------------------------------------------------------------------------------

    async def _let_go(self) -> None:
        if self._watch is not None:
            self._core.sweeper().remove(self._watch)
        follower, self._follower = self._follower, None
        if follower is not None:
            follower.cancel()
        if self._won is not None:
            await self._won.drop()

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
