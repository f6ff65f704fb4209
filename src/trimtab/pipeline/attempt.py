"""Asking providers until one answers: targets, retries, fallbacks, deadlines."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, suppress

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
from .ports import Counts
from .record import Outcome
from .stages import Tally
from .state import ModelPlan, Plan, Target
from .watch import Watch


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
        "_parsed",
        "_plan",
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
        self, plan: Plan, parsed: Parsed, watch: Watch, retry: RetryPolicy, counts: Counts, outcome: Outcome
    ) -> None:
        self._plan = plan
        self._parsed = parsed
        self._watch = watch
        self._retry = retry
        self._counts = counts
        self._at = 0.0
        self._busy: Target | None = None
        self._call_id = ""
        self._kind: CallKind = "chat"
        self._reply: AbstractAsyncContextManager[Reply] | None = None
        self.completion: Completion | None = None
        self.frames: AsyncIterator[Frame] | None = None
        self.held: list[Frame] = []
        self.outcome = outcome
        self.reply_headers: tuple[tuple[str, str], ...] = ()
        self.tally = Tally()
        self.target: Target | None = None

    async def run(self, kind: CallKind, call_id: str, at: float) -> None:
        """Try the release's model, then its fallbacks, in order.

        Args:
            kind: what is asked for.
            call_id: the call's id.
            at: when the call was opened, on the loop's clock.

        Raises:
            ProviderError: the last one's error.
            ClientGone: the client went away.
        """
        self._kind, self._call_id, self._at = kind, call_id, at
        loop = asyncio.get_running_loop()
        models = self._plan.models
        for position, model in enumerate(models):
            try:
                await self._try_model(model, loop)
            except ProviderError as error:
                if position == len(models) - 1 or not error.elsewhere or loop.time() >= self._watch.total():
                    raise
                self._counts.add_named("fallbacks")
            else:
                self.outcome.degraded = self._degraded(position)
                return

    def idle(self) -> tuple[float, Callable[[], TrimtabError]]:
        """Return the open reply's idle deadline in seconds, and the error it ends in."""
        target = self.target
        assert target is not None, "there is an attempt"
        idle_s = target.deadlines.idle_s
        return idle_s, lambda: IdleTimeout(
            f"{target.label} paused for longer than its idle deadline of {idle_s:g} s"
        )

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

    async def _try_model(self, model: ModelPlan, loop: asyncio.AbstractEventLoop) -> None:
        """Try a model's targets: another one at once, the same one after a pause."""
        retry = self._retry
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
                self._counts.add_named("retries")
            else:
                target.worked()
                return

    async def _pause(self, error: ProviderError, tries: int, loop: asyncio.AbstractEventLoop) -> None:
        """Wait as long as the provider asks, or with full jitter; raise `error` where that would be too long."""
        retry = self._retry
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
        self.target = self._busy = target
        self._counts.add_named("upstream_attempts")
        outcome = self.outcome
        outcome.model = target.label
        outcome.provider = target.provider.name
        try:
            await self._ask_target(target, loop)
            status = 200
        except TrimtabError as error:
            code, status = error.code, error.status if isinstance(error, ProviderError) else 0
            await self.drop()
            raise
        finally:
            took = loop.time() - began
            offset = int((began - self._at) * 1e6)
            outcome.attempts.append(Attempt(target.label, offset, int(took * 1e6), code, status))

    async def _ask_target(self, target: Target, loop: asyncio.AbstractEventLoop) -> None:
        parsed, watch, outcome = self._parsed, self._watch, self.outcome
        fields = parsed.fields
        fields["model"] = target.model_json
        limits = target.deadlines
        request = Request(
            kind=self._kind,
            model=target.name,
            body=fields,
            stream=parsed.stream,
            deadlines=limits,
            call_id=self._call_id,
        )
        first_byte_s = limits.first_byte_s
        watch.follow(None)
        watch.arm(
            first_byte_s,
            lambda: FirstByteTimeout(
                f"{target.label} sent nothing within its first-byte deadline of {first_byte_s:g} s"
            ),
            loop.time(),
        )
        try:
            self._reply = context = target.provider.open(request)
            reply = await context.__aenter__()
            outcome.request_id = reply.head.request_id
            self.reply_headers = reply.head.headers
            watch.follow(getattr(reply, "received", None))
            idle_s, error = self.idle()
            watch.arm(idle_s, error, loop.time())
            if parsed.stream:
                await self._prime(reply)
            else:
                self._take(await reply.completion(), loop)
                await self.drop()
        except asyncio.CancelledError:
            watch.raise_for()
            raise
        finally:
            watch.disarm()

    def _take(self, completion: Completion, loop: asyncio.AbstractEventLoop) -> None:
        outcome = self.outcome
        self.completion = completion
        outcome.response = completion.body
        outcome.first_byte_us = int((loop.time() - self._at) * 1e6)
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
            for event in frame.events:
                kind = type(event)
                if kind is ProviderFault:
                    raise reported(event)
                if kind is Done:
                    if tally.empty:
                        raise EmptyReply("the provider's stream ended without any choice in it")
                else:
                    tally.add(event)
            if tally.content_seen or tally.finishes:
                self.outcome.first_byte_us = int((asyncio.get_running_loop().time() - self._at) * 1e6)
                return
        raise StreamCut("the provider's stream ended before its first content")

    def _degraded(self, position: int) -> bool:
        """Tell whether a stand-in of lesser quality answered: `degraded_mode` is a fact of its provider."""
        target = self.target
        stands_in = position > 0 or self._plan.substituted
        return stands_in and bool(target and getattr(target.provider, "degraded_mode", False))


def reported(event: Event) -> StreamError:
    """Return the error that a provider reported inside its stream."""
    assert isinstance(event, ProviderFault), "only asked for faults"
    return StreamError(f"the provider reported: {event.message}")
