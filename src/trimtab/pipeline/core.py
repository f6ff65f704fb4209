"""What one process needs to make calls: the compiled state, the log, the counters, the sweeper of deadlines."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from trimtab.access import Caller
from trimtab.limits import Limiter
from trimtab.providers import Factory, ProviderContext, cannot_unseal, make_provider
from trimtab.types import (
    Clock,
    Closed,
    FeedbackGiven,
    IdSource,
    Opened,
    Provider,
    ProviderSpec,
    Snapshot,
    SpanEnded,
    TargetHealth,
    new_id,
)
from trimtab.types.errors import Overloaded, ProviderError

from .ask import Ask, ParamsHash
from .call import LiveCall
from .gate import check_gate
from .health import Board, publish
from .ports import Counts, Keep, Log, NoReplyCache, ReplyCache
from .record import Recorder
from .retired import Retired
from .state import State
from .watch import Sweeper


class Shared(NamedTuple):
    """What the processes of a machine that make calls have in common."""

    cache: ReplyCache = NoReplyCache()
    """Replies that may be given again; without one, none is."""
    limiter: Limiter | None = None
    """Keeps the state of limits and budgets; without it, a snapshot that has any is refused."""
    board: Board | None = None
    """Breaker states; without it, this process has its own."""


class Core:
    """Makes calls under the latest snapshot it was given. One per process, on one event loop."""

    def __init__(
        self,
        *,
        log: Log,
        counts: Counts,
        keep: Mapping[str, Keep],
        clock: Clock,
        run_dir: Path,
        unseal: Callable[[ProviderSpec], str] = cannot_unseal,
        shared: Shared | None = None,
    ) -> None:
        """Prepare to serve; `apply` a snapshot before the first call.

        Args:
            log: this process's append log.
            counts: this process's counters.
            keep: payload policies by name.
            clock: the time of records.
            run_dir: run-time files, where the own model's endpoint is found.
            unseal: opens the keys of providers that were added at run time.
            shared: what it has in common with the machine's other processes; without it, nothing.
        """
        self.clock = clock
        shared = shared or Shared()
        self.cache = shared.cache
        self.limiter = shared.limiter
        self.counts = counts
        self.recorder = Recorder(log, counts, "refuse")
        self.ids = IdSource()
        self.params_hash = ParamsHash()
        self._sweeper: Sweeper | None = None
        self._keep = keep
        self._run_dir = run_dir
        self._unseal = unseal
        self._board = shared.board
        self._factories: dict[str, Factory] = {}
        self._state: State | None = None
        self._retired = Retired()

    @property
    def state(self) -> State:
        """The generation that new calls obey."""
        assert self._state is not None, "apply a snapshot first"
        return self._state

    @property
    def generation(self) -> int:
        """Number of the snapshot in force; 0 before the first."""
        return self._state.generation if self._state is not None else 0

    def compile(self, snapshot: Snapshot) -> State:
        """Compile a snapshot without obeying it; may run in a thread.

        Raises:
            ConfigError: it cannot be obeyed; the present one stays in force.
        """
        context = ProviderContext(
            run_dir=self._run_dir,
            clock=self.clock,
            max_reply_bytes=snapshot.policy.max_reply_bytes,
            unseal=self._unseal,
            factories=self._factories,
        )

        def make(spec: ProviderSpec) -> Provider:
            return make_provider(spec, context)

        state = State(snapshot, make, self._state, self._board)
        check_gate(state.gate, has_limiter=self.limiter is not None)
        return state

    def swap(self, state: State) -> None:
        """Obey a compiled snapshot from now on; calls under way keep the one they began with."""
        if self._state is not None:
            self._retired.replaced(self._state, state)
        self._state = state
        self.recorder.on_failure = state.policy.on_ledger_failure

    def apply(self, snapshot: Snapshot) -> None:
        """Compile and obey a snapshot.

        Raises:
            ConfigError: it cannot be obeyed; the present one stays in force.
        """
        self.swap(self.compile(snapshot))

    def sweeper(self) -> Sweeper:
        """Return the watcher of deadlines, bound to the loop that the first call runs on."""
        if self._sweeper is None:
            self._sweeper = Sweeper(asyncio.get_running_loop())
        return self._sweeper

    def shed(self) -> None:
        """Refuse a call that this process could not serve in time; to be asked before any work is done for it.

        Raises:
            Overloaded: it has as many open calls as it may, or runs late.
        """
        sweeper, rules = self._sweeper, self.state.policy.resilience
        if sweeper is None:
            return
        live = len(sweeper.watches)
        if rules.max_in_flight and live >= rules.max_in_flight:
            why = f"{live} calls are open here, and resilience.max_in_flight is {rules.max_in_flight}"
        elif rules.max_lag_s and live and sweeper.lag_s > rules.max_lag_s:
            why = f"this process runs {sweeper.lag_s:.2f} s late, and resilience.max_lag_s is {rules.max_lag_s:g}"
        else:
            return
        self.counts.add_named("shed")
        raise Overloaded(f"the gateway is overloaded: {why}; ask again in a moment", retry_after_s=1.0)

    def call(self, ask: Ask) -> LiveCall:
        """Return a call to enter: `async with core.call(ask) as call`."""
        return LiveCall(self, ask)

    def keep(self, policy: str) -> Keep:
        """Return what a payload policy does."""
        return self._keep[policy]

    def count(self, closed: Closed, opened: Opened) -> None:
        """Add a finished call to the counters."""
        usage = closed.usage
        self.counts.add_finished(
            _STATE_COUNTERS[closed.state],
            (usage.input_tokens, usage.output_tokens, closed.cost_nusd),
            (closed.closed_us - opened.opened_us) / 1000,
        )

    async def feedback(self, given: FeedbackGiven) -> None:
        """Record feedback on a call.

        Raises:
            LedgerUnavailable: it cannot be written, and the policy is to refuse.
        """
        await self.recorder.write(given, "unrecorded_feedback")
        self.counts.add_named("feedback")

    async def spans(self, ended: Sequence[SpanEnded]) -> None:
        """Record spans.

        Raises:
            LedgerUnavailable: they cannot be written, and the policy is to refuse; sending all of them again is safe.
        """
        await self.recorder.write_all(ended, "unrecorded_spans")
        self.counts.add_named("spans", len(ended))

    async def models(self) -> list[tuple[str, str]]:
        """Return (name, owner) of all that answers here; providers that list their models are asked, all at once."""
        state = self.state
        names = state.open_ended()
        async with asyncio.TaskGroup() as group:
            lists = [group.create_task(_listed(state.providers[name])) for name in names]
        rows = state.served()
        for name, models in zip(names, lists, strict=True):
            rows.extend((f"{name}/{model}", name) for model in models.result())
        return rows

    def seen(self) -> list[TargetHealth]:
        """Return what this process knows of the targets that calls have met; those made up by callers left out."""
        if self._state is None:
            return []
        now = time.monotonic()
        return [t.seen(now) for t in self._state.targets() if t.health.calls or t.in_flight]

    async def watch_targets(self, name: str, folder: Path) -> None:
        """Publish once a second what is known of targets, and close providers that nobody uses, until cancelled."""
        failed = False
        while True:
            await asyncio.sleep(_PUBLISH_S)
            try:
                publish(folder, name, self.seen())
                failed = False
            except OSError as error:
                if not failed:
                    _log.warning("the health of targets cannot be published: %s", error)
                failed = True
            await self._retired.close_unused()

    async def aclose(self) -> None:
        """Close the providers' connections."""
        await self._retired.close()
        for provider in self._state.providers.values() if self._state else ():
            await provider.aclose()


async def _listed(provider: Provider) -> list[str]:
    """Return a provider's models; one that is down, or does not answer in time, lists nothing."""
    try:
        async with asyncio.timeout(_MODELS_S):
            return await provider.models()
    except (ProviderError, TimeoutError):
        return []


_log = logging.getLogger(__name__)
_PUBLISH_S = 1.0
_MODELS_S = 10.0
"""How long a provider may take to list its models; the other providers' are shown without them then."""
_STATE_COUNTERS = {"ok": "answered", "error": "errors", "cancelled": "cancelled", "unfinished": "errors"}


def feedback_record(caller: Caller, at_us: int, fields: Mapping[str, object]) -> FeedbackGiven:
    """Return the record of one piece of feedback; `fields` are checked already."""
    score = fields.get("score")
    return FeedbackGiven(
        id=new_id(),
        call_id=str(fields["call_id"]),
        at_us=at_us,
        project=caller.project,
        name=str(fields.get("name") or "rating"),
        score=float(score) if isinstance(score, int | float) else None,
        value=str(fields.get("value") or ""),
        comment=str(fields.get("comment") or ""),
        correction=str(fields.get("correction") or ""),
        user=str(fields.get("user") or ""),
        key=caller.key,
        response_id=str(fields.get("response_id") or ""),
    )
