"""Asking providers until one answers: targets, retries, fallbacks, deadlines."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import TYPE_CHECKING

from trimtab.types import (
    Attempt,
    CallKind,
    Completion,
    Done,
    Event,
    Frame,
    ProviderFault,
    Reply,
    Request,
    RetryPolicy,
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

from .ask import Parsed
from .record import Outcome
from .stages import Tally
from .state import ModelPlan, Plan, Target
from .watch import Sweeper, Watch

if TYPE_CHECKING:
    from .core import Core


class Attempts:
    """Makes one call's attempts, and holds the reply of the one that is open.

    After `run`, either `completion` is there, or `held` are a stream's frames up to its first content and `frames`
    yields the rest. `drop` must be called in the end.
    """

    __slots__ = (
        "_at",
        "_busy",
        "_call_id",
        "_counts",
        "_kind",
        "_loop",
        "_now",
        "_parsed",
        "_plan",
        "_progress",
        "_reply",
        "_retry",
        "_watch",
        "completion",
        "frames",
        "held",
        "outcome",
        "reply_headers",
        "tally",
        "target",
    )

    def __init__(
        self, core: "Core", plan: Plan, parsed: Parsed, outcome: Outcome, sweeper: Sweeper, watch: Watch
    ) -> None:
        self._plan = plan
        self._parsed = parsed
        self._watch = watch
        self._retry = core.state.policy.retry
        self._counts = core.counts
        self._loop = sweeper.loop
        self._now = core.clock.monotonic  # the loop's own time is rounded to milliseconds
        self._busy: Target | None = None
        self._progress: Callable[[], int] | None = None
        """How many bytes of the open reply have arrived, where its provider tells."""
        self._reply: AbstractAsyncContextManager[Reply] | None = None
        self.completion: Completion | None = None
        self.frames: AsyncIterator[Frame] | None = None
        self.held: Sequence[Frame] = ()
        self.outcome = outcome
        self.reply_headers: tuple[tuple[str, str], ...] = ()
        self.tally: Tally | None = None
        """A stream's sums so far."""
        self.target: Target | None = None

    async def run(self, kind: CallKind, call_id: str, at: float) -> None:
        """Try the release's model, then its fallbacks, in order.

        Args:
            kind: what is asked for.
            call_id: the call's id.
            at: when the call was opened, on the monotonic clock.

        Raises:
            ProviderError: the last one's error.
            ClientGone: the client went away.
        """
        self._kind, self._call_id, self._at = kind, call_id, at
        loop = self._loop
        model = self._plan.models[0]
        target = model.pick(loop.time(), ())
        assert target is not None, "a model has a target"
        try:
            await self._attempt(target, loop)
        except ProviderError as error:
            position = await self._recover(error, target, loop)
        else:
            position = 0
            target.worked()
        if position or self._plan.substituted:
            self.outcome.degraded = self._degraded()

    async def _recover(self, error: ProviderError, target: Target, loop: asyncio.AbstractEventLoop) -> int:
        """Go on after the first attempt failed; return the position of the model that answered."""
        models = self._plan.models
        failed: ProviderError | None = error
        for position, model in enumerate(models):
            try:
                await self._try_model(model, loop, failed, target)
            except ProviderError as last:
                if position == len(models) - 1 or not last.elsewhere or loop.time() >= self._watch.total():
                    raise
                failed = None
                self._counts.add_named("fallbacks")
            else:
                return position
        raise error

    @property
    def open(self) -> bool:
        """Whether there is something to `drop`."""
        return self._reply is not None or self._busy is not None

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
        target = self.target
        assert target is not None, "there is an attempt"
        self._watch.arm(target.deadlines.idle_s, self._idle, self._loop.time(), self._progress)

    async def drop(self) -> None:
        """Close the open reply: its connection is pooled if it was read whole, else its socket is closed."""
        busy, self._busy = self._busy, None
        if busy is not None:
            busy.in_flight -= 1
        frames, self.frames = self.frames, None
        reply, self._reply = self._reply, None
        if frames is not None and hasattr(frames, "aclose"):
            with suppress(ProviderError):
                await frames.aclose()
        if reply is not None:
            await reply.__aexit__(None, None, None)

    # --- inside ---------------------------------------------------------------------------------------------

    async def _try_model(
        self,
        model: ModelPlan,
        loop: asyncio.AbstractEventLoop,
        failed: ProviderError | None = None,
        target: Target | None = None,
    ) -> None:
        """Try a model's targets: an untried one at once, a tried one after a pause.

        Args:
            model: what to try.
            loop: the running loop.
            failed: the error of a first attempt that was made already, with `target`.
            target: where it was made.
        """
        tries = Tries(model, self._retry)
        while True:
            error, failed = failed, None
            if error is None:
                target = tries.next(loop.time())
                try:
                    await self._attempt(target, loop)
                except ProviderError as again:
                    error = again
                else:
                    target.worked()
                    return
            assert target is not None, "an error has its target"
            now = loop.time()
            target.failed(now)
            tries.failed(target, error, now)
            if not error.elsewhere or tries.over(now):
                raise error
            pause = tries.pause_s(now)
            if now + pause >= self._watch.total():
                raise error
            if pause > 0:
                await self._sleep(pause)
            self._counts.add_named("retries")

    async def _sleep(self, pause_s: float) -> None:
        self._watch.disarm()
        try:
            await asyncio.sleep(pause_s)
        except asyncio.CancelledError:
            self._watch.raise_for()
            raise

    async def _attempt(self, target: Target, loop: asyncio.AbstractEventLoop) -> None:
        """Ask one target once, and note how it went."""
        parsed, watch, outcome, limits = self._parsed, self._watch, self.outcome, target.deadlines
        began = self._now()
        code, status = "", 200
        target.in_flight += 1
        self.target = self._busy = target
        self._counts.add_named("upstream_attempts")
        outcome.model = target.label
        outcome.provider = target.provider.name
        parsed.fields["model"] = target.model_json
        request = Request(self._kind, target.name, parsed.fields, parsed.stream, limits, self._call_id)
        watch.arm(limits.first_byte_s, self._first_byte, loop.time())
        try:
            self._reply = context = target.provider.open(request)
            reply = await context.__aenter__()
            outcome.request_id = reply.head.request_id
            self.reply_headers = reply.head.headers
            self._progress = progress = getattr(reply, "received", None)
            watch.arm(limits.idle_s, self._idle, loop.time(), progress)
            if parsed.stream:
                await self._prime(reply)
            else:
                self._take(await reply.completion())
                await self.drop()
        except BaseException as error:  # whatever ends an attempt, its socket is closed before it goes on
            await self.drop()
            cause = watch.cause() if isinstance(error, asyncio.CancelledError) else error
            if isinstance(cause, TrimtabError):
                code, status = cause.code, cause.status if isinstance(cause, ProviderError) else 0
            if cause is error or cause is None:
                raise
            raise cause from None
        finally:
            watch.disarm()
            offset, took = int((began - self._at) * 1e6), int((self._now() - began) * 1e6)
            outcome.attempts.append(Attempt(target.label, offset, took, code, status))

    def _first_byte(self) -> TrimtabError:
        target = self.target
        assert target is not None, "there is an attempt"
        limit = target.deadlines.first_byte_s
        return FirstByteTimeout(f"{target.label} sent nothing within its first-byte deadline of {limit:g} s")

    def _idle(self) -> TrimtabError:
        target = self.target
        assert target is not None, "there is an attempt"
        limit = target.deadlines.idle_s
        return IdleTimeout(f"{target.label} paused for longer than its idle deadline of {limit:g} s")

    def _take(self, completion: Completion) -> None:
        outcome = self.outcome
        self.completion = completion
        outcome.response = completion.body
        outcome.first_byte_us = int((self._now() - self._at) * 1e6)
        outcome.response_id = completion.response_id
        outcome.model_served = completion.model
        outcome.fingerprint = completion.fingerprint
        outcome.finish_reason = completion.finish_reason
        outcome.usage = completion.usage
        outcome.text = completion.text

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
                self.outcome.first_byte_us = int((self._now() - self._at) * 1e6)
                return
        raise StreamCut("the provider's stream ended before its first content")

    def _degraded(self) -> bool:
        """Tell whether the stand-in that answered is of lesser quality: `degraded_mode` is a fact of its provider."""
        target = self.target
        return target is not None and bool(getattr(target.provider, "degraded_mode", False))


class Tries:
    """What was tried of one model's targets, and which may be tried next, how soon."""

    __slots__ = ("_counts", "_model", "_ready_at", "_retry", "_spent")

    def __init__(self, model: ModelPlan, retry: RetryPolicy) -> None:
        self._model = model
        self._retry = retry
        self._counts: dict[int, int] = {}
        self._ready_at: dict[int, float] = {}
        """When a target wants to be asked again, where it said so, on the loop's clock."""
        self._spent: set[int] = set()

    def failed(self, target: Target, error: ProviderError, now: float) -> None:
        """Note a failed try: a lasting fault, or as many tries as a target gets, leave it out from now on."""
        key = id(target)
        self._counts[key] = count = self._counts.get(key, 0) + 1
        if not error.retryable or count >= self._retry.attempts:
            self._spent.add(key)
        if error.retry_after_s is not None:
            self._ready_at[key] = now + error.retry_after_s

    def over(self, now: float) -> bool:
        """Tell whether no target is left; one that asks for too long a pause is none."""
        latest = now + self._retry.retry_after_max_s
        self._spent.update(key for key, at in self._ready_at.items() if at > latest)
        return len(self._spent) >= len(self._model.targets)

    def next(self, now: float) -> Target:
        """Return the target to ask now: an untried one before those that failed."""
        target = self._model.pick(now, self._spent | self._counts.keys()) or self._model.pick(
            now, self._spent
        )
        assert target is not None, "a model has a target, and `over` said that one is left"
        return target

    def pause_s(self, now: float) -> float:
        """Return how long to wait before the next try: nothing for an untried target, else full jitter.

        Source of the jitter: M. Brooker, "Exponential Backoff And Jitter", 2015.
        """
        key = id(self.next(now))
        count = self._counts.get(key, 0)
        if not count:
            return 0.0
        longest = min(self._retry.backoff_max_s, self._retry.backoff_s * 2 ** (count - 1))
        pause = random.uniform(0, longest)  # noqa: S311 - jitter keeps no secret
        return max(pause, self._ready_at.get(key, now) - now)


def reported(event: Event) -> StreamError:
    """Return the error that a provider reported inside its stream."""
    assert isinstance(event, ProviderFault), "only asked for faults"
    return StreamError(f"the provider reported: {event.message}")
