"""One attempt: one target asked once, up to an answer or a stream's first content, and what it says of the target."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from math import inf
from typing import TYPE_CHECKING

import msgspec

from trimtab.pipeline.health import Target
from trimtab.pipeline.record import GIVEN_UP
from trimtab.pipeline.stages import Tally
from trimtab.pipeline.watch import Watch
from trimtab.types import (
    Attempt,
    Completion,
    Done,
    Event,
    Frame,
    ProviderFault,
    Reply,
    Request,
    TrimtabError,
)
from trimtab.types.errors import (
    EmptyReply,
    FirstByteTimeout,
    IdleTimeout,
    ProviderError,
    StreamCut,
    StreamError,
)

if TYPE_CHECKING:
    from .walk import Attempts


class Try:
    """One attempt, and the reply that it holds open.

    After `run`, either `completion` is there, or `held` are a stream's frames up to its first content and `frames`
    yields the rest. Failing, or cancelled, it holds nothing any more; else `drop` must be called in the end.
    """

    # Defaults stand here, and no slots: most of them stay, and a call need not set each of them.
    completion: Completion | None = None
    ended_by: TrimtabError | None = None
    """What the whole call ended in, where that cancels it."""
    frames: AsyncIterator[Frame] | None = None
    held: Sequence[Frame] = ()
    lost: bool = False
    """Set before it is cancelled because another one has answered."""
    reply_headers: tuple[tuple[str, str], ...] = ()
    request_id = ""
    tally: Tally | None = None
    """A stream's sums so far."""
    _busy: bool = False
    _first_byte_us = 0
    _progress: Callable[[], int] | None = None
    """How many bytes of the open reply have arrived, where its provider tells."""
    _reply: AbstractAsyncContextManager[Reply] | None = None
    _row = 0
    _slow_s = inf
    _stood_s = 0.0
    """How long this process had stood still when it began: what it stands still meanwhile is no fault of the target."""

    def __init__(self, call: "Attempts", target: Target, why: str = "", *, probe: bool = False) -> None:
        """Prepare to ask.

        Args:
            call: the call it is part of.
            target: whom to ask.
            why: see `types.Attempt`.
            probe: how it goes decides whether the target's breaker closes.
        """
        self._call = call
        self._watch = call.watch
        self.probe = probe
        self.target = target
        self.why = why

    def watched_by(self, watch: Watch) -> None:
        """Let another watch than the call's keep its deadlines: one of the task that it runs in."""
        self._watch = watch

    async def run(self) -> None:
        """Ask, and note how it went with the call and with the target.

        Raises:
            ProviderError: there was no answer, or the stream broke before its first content.
            ClientGone: the client went away.
        """
        call, target, watch = self._call, self.target, self._watch
        parsed, limits = call.parsed, target.deadlines
        stream = parsed.stream
        began, now, code, status = call.now(), call.loop.time(), "", 200
        target.in_flight += 1
        target.health.calls += 1
        self._busy = True
        call.counts.add_named("upstream_attempts")
        # Two attempts at once must not share the field that differs between them.
        fields = parsed.fields if watch is call.watch else dict(parsed.fields)
        fields["model"] = target.model_json
        request = Request(call.kind, target.name, fields, stream, limits, call.call_id)
        lane = target.health.lanes[stream]
        watch.arm(limits.first_byte_s, self._no_byte, now)
        if (slow_s := lane.slow_s) != inf:
            self._slow_s, self._stood_s = slow_s, call.sweeper.stood_s(now)
            watch.slow_at, watch.slow = now + slow_s, self
        try:
            self._reply = context = target.provider.open(request)
            reply = await context.__aenter__()
            self.request_id, self.reply_headers = reply.head.request_id, reply.head.headers
            self._progress = progress = getattr(reply, "received", None)
            watch.arm(limits.idle_s, self._idle, call.loop.time(), progress)
            if stream:
                await self._prime(reply)
            else:
                self.completion = await reply.completion()
                await self.drop()
        except BaseException as error:  # whatever ends an attempt, its socket is closed before it goes on
            await self.drop()
            cause = self._cause(error)
            code, status = self._failed(cause, now)
            if cause is error or cause is None:
                raise
            raise cause from None
        else:
            seconds = call.now() - began
            lane.took(seconds, now + seconds)
            if self.probe or seconds >= self._slow_s:
                self._slow_or_probe(seconds, now)
            else:
                target.health.breaker.good()
        finally:
            cause = (
                None  # its traceback holds this frame: a cycle would keep the request until it is collected
            )
            watch.disarm()
            offset, took = int((began - call.at) * 1e6), int((call.now() - began) * 1e6)
            self._first_byte_us = offset + took
            self._row = len(call.outcome.attempts)
            call.outcome.attempts.append(Attempt(target.label, offset, took, code, status, self.why))

    def adopt(self) -> None:
        """Make this the attempt that the call goes on with."""
        outcome, target, completion = self._call.outcome, self.target, self.completion
        self._watch = self._call.watch
        outcome.model = target.label
        outcome.provider = target.provider.name
        outcome.request_id = self.request_id
        outcome.first_byte_us = self._first_byte_us
        if completion is not None:
            outcome.response = completion.body
            outcome.response_id = completion.response_id
            outcome.model_served = completion.model
            outcome.fingerprint = completion.fingerprint
            outcome.finish_reason = completion.finish_reason
            outcome.usage = completion.usage
            outcome.text = completion.text

    async def give_up(self) -> None:
        """Let a whole answer go that came as another one had been taken: it will be billed all the same."""
        await self.drop()
        rows, usage = self._call.outcome.attempts, self.completion.usage if self.completion else None
        rows[self._row] = msgspec.structs.replace(rows[self._row], error_code=GIVEN_UP, usage=usage)

    # --- the open reply -------------------------------------------------------------------------------------

    @property
    def open(self) -> bool:
        """Whether there is something to `drop`."""
        return self._reply is not None or self._busy

    def note(self, frame: Frame) -> bool:
        """Add a frame's events up; return whether it is the stream's last.

        Raises:
            StreamError: the provider reported an error in it.
        """
        ended, tally = False, self.tally
        assert tally is not None, "a stream has its tally"
        add = tally.add
        for event in frame.events:
            kind = type(event)
            if kind is Done:
                ended = True
            elif kind is ProviderFault:
                raise reported(event)
            else:
                add(event)
        return ended

    def await_pieces(self) -> None:
        """Put the open reply's idle deadline in force; `Watch.steps` and its bytes put it off."""
        self._watch.arm(self.target.deadlines.idle_s, self._idle, self._call.loop.time(), self._progress)

    async def drop(self) -> None:
        """Close the open reply: its connection is pooled if it was read whole, else its socket is closed."""
        if self._busy:
            self._busy = False
            self.target.in_flight -= 1
        frames, self.frames = self.frames, None
        reply, self._reply = self._reply, None
        if frames is not None and hasattr(frames, "aclose"):
            with suppress(ProviderError):
                await frames.aclose()
        if reply is not None:
            await reply.__aexit__(None, None, None)

    # --- what it says of the target -------------------------------------------------------------------------

    def late(self, now: float) -> None:
        """Note that the answer is slow, before it is there: `Watch` calls it."""
        health = self.target.health
        health.lanes[self._call.parsed.stream].late(self._slow_s, now)
        if self.probe:
            self.probe = False  # it has said what it had to say
            health.breaker.probed(now, well=False)
        else:
            health.breaker.slow(now - self._slow_s, now)

    def broke(self, error: ProviderError) -> None:
        """Note that the answer broke off after its first content."""
        if error.elsewhere:
            self._blame(error, self._call.loop.time())

    def _slow_or_probe(self, seconds: float, began: float) -> None:
        """Note an answer that came late, or decides about a breaker."""
        breaker, now = self.target.health.breaker, began + seconds
        if self._watch.slow_at == inf and self._slow_s != inf:
            return  # it was noted as late already
        slow = False
        if self._slow_s != inf:
            seconds -= self._call.sweeper.stood_s(now) - self._stood_s
            slow = seconds >= self._slow_s
        if not self.probe:
            if slow:
                breaker.slow(began, now)
            else:
                breaker.good()
        elif not slow:
            self.target.health.lanes[self._call.parsed.stream].settle(seconds, now)
            breaker.probed(now, well=True)
        else:
            breaker.probed(now, well=False)

    def _cause(self, error: BaseException) -> BaseException | None:
        """Return what ended the attempt; None where it was cancelled from outside."""
        return self._watch.cause() or self.ended_by if isinstance(error, asyncio.CancelledError) else error

    def _failed(self, cause: BaseException | None, began: float) -> tuple[str, int]:
        """Judge the target; return code and status for the record. A call cancelled from outside blames nobody."""
        breaker, now = self.target.health.breaker, self._call.loop.time()
        if not isinstance(cause, ProviderError):
            if self.probe and self.lost:
                breaker.probed(now, well=False)  # another one was faster, begun later
            elif self.probe:
                breaker.unclaim(now)
            if isinstance(cause, TrimtabError):
                return cause.code, 0
            return (GIVEN_UP, 0) if self.lost else ("", 200)
        if cause.elsewhere:
            self._blame(cause, began)
        elif self.probe:
            breaker.probed(now, well=True)  # the request was at fault, and the target said so
        else:
            breaker.good()
        return cause.code, cause.status

    def _blame(self, error: ProviderError, began: float) -> None:
        health, now = self.target.health, self._call.loop.time()
        health.note_error(error, now, self._call.now_us())
        if self.probe:
            health.breaker.probed(now, well=False)
        else:
            health.breaker.bad(began, now)

    # --- inside ---------------------------------------------------------------------------------------------

    def _no_byte(self) -> TrimtabError:
        target = self.target
        limit = target.deadlines.first_byte_s
        return FirstByteTimeout(f"{target.label} sent nothing within its first-byte deadline of {limit:g} s")

    def _idle(self) -> TrimtabError:
        target = self.target
        limit = target.deadlines.idle_s
        return IdleTimeout(f"{target.label} paused for longer than its idle deadline of {limit:g} s")

    async def _prime(self, reply: Reply) -> None:
        """Read a stream up to its first content: until then another target may still take over unseen."""
        self.tally = tally = Tally()
        self.held = held = []
        self.frames = frames = reply.frames()
        async for frame in frames:
            held.append(frame)
            if self.note(frame) and tally.empty:
                raise EmptyReply("the provider's stream ended without any choice in it")
            if tally.content_seen or tally.finishes:
                return
        raise StreamCut("the provider's stream ended before its first content")


def reported(event: Event) -> StreamError:
    """Return the error that a provider reported inside its stream."""
    assert isinstance(event, ProviderFault), "only asked for faults"
    return StreamError(f"the provider reported: {event.message}")
