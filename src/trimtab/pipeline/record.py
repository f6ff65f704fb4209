"""Writing a call's two records: before the first provider is asked, and before the last byte goes out."""

from collections.abc import Sequence

import msgspec

from trimtab.catalog import Catalog, estimate_request_tokens, estimate_tokens
from trimtab.types import NOT_BILLED, Attempt, CallState, Closed, Opened, Record, Usage
from trimtab.types.errors import LedgerUnavailable

from .ask import Ask, Parsed
from .ports import Counts, Keep, Log
from .state import Plan

GIVEN_UP = "given_up"
"""Code of an attempt that was cancelled because another one of the same call had answered."""


class Recorder:
    """Writes a worker's records, and decides what happens to a call that cannot be recorded."""

    __slots__ = ("_counts", "_log", "on_failure", "waits")

    def __init__(self, log: Log, counts: Counts, on_failure: str) -> None:
        self._log = log
        self._counts = counts
        self.waits = log.waits
        self.on_failure = on_failure
        """`refuse`: the call fails. `serve`: it goes on, and is counted as unrecorded."""

    async def write(self, record: Record, unrecorded: str) -> None:
        """Append one record, durable as configured.

        Args:
            record: what to write.
            unrecorded: the counter to raise where it cannot be written and the call goes on all the same.

        Raises:
            LedgerUnavailable: it cannot be written, and the policy is to refuse.
        """
        try:
            await self._log.append_durable(record)
        except LedgerUnavailable:
            self._counts.add_named(unrecorded)
            if self.on_failure == "refuse":
                raise

    async def write_all(self, records: Sequence[Record], unrecorded: str) -> None:
        """Append records; where durability waits for the disk, it does so once for all of them.

        Raises:
            LedgerUnavailable: one of them cannot be written, and the policy is to refuse.
        """
        try:
            for record in records[:-1]:
                self._log.append(record)
            for record in records[-1:]:
                await self._log.append_durable(record)
        except LedgerUnavailable:
            self._counts.add_named(unrecorded, len(records))
            if self.on_failure == "refuse":
                raise

    def write_now(self, record: Record, unrecorded: str) -> bool:
        """Append one record where that is all that durability asks for; False where `write` must be awaited.

        Raises:
            LedgerUnavailable: as `write`.
        """
        if self.waits:
            return False
        try:
            self._log.append(record)
        except LedgerUnavailable:
            self._counts.add_named(unrecorded)
            if self.on_failure == "refuse":
                raise
        return True

    def write_at_once(self, record: Record, unrecorded: str) -> None:
        """Append where nothing may be awaited any more: the call's task is being cancelled."""
        try:
            self._log.append(record)
        except LedgerUnavailable:
            self._counts.add_named(unrecorded)


class Outcome(msgspec.Struct):
    """What became of a call, filled in as it happens."""

    attempts: list[Attempt] = []
    cost_nusd: int | None = None
    """Known once the call is closed, and only where its model's price is."""
    cache_hit: bool = False
    degraded: bool = False
    error_code: str = ""
    error_message: str = ""
    fingerprint: str = ""
    finish_reason: str = ""
    first_byte_us: int = 0
    model: str = ""
    model_served: str = ""
    provider: str = ""
    request_id: str = ""
    response: bytes = b""
    response_id: str = ""
    state: CallState = "ok"
    status: int = 200
    text: str = ""
    """The answer's text, as far as it came: what to estimate from where usage never arrived."""
    usage: Usage | None = None


def opened_record(
    call_id: str, opened_us: int, ask: Ask, parsed: Parsed, plan: Plan, keep: Keep, reserved_nusd: int = 0
) -> Opened:
    """Return the record of a call that is about to be made; `reserved_nusd` is what budgets hold for it."""
    caller = ask.caller
    opened = Opened(
        call_id,
        opened_us,
        caller.project,
        ask.purpose,
        ask.kind,
        plan.route,
        plan.channel,
        plan.release,
        plan.arm,
        parsed.model,
        plan.models[0].model,
        parsed.params_hash,
        parsed.stream,
        caller.key,
        ask.session,
        parsed.user,
        ask.tags,
        ask.client,
        ask.trace_parent,
        ask.parent_call,
        ask.replay_of,
        caller.payload,
        keep(ask.body),
    )
    return msgspec.structs.replace(opened, reserved_nusd=reserved_nusd) if reserved_nusd else opened


def closed_record(
    opened: Opened, outcome: Outcome, closed_us: int, catalog: Catalog, ask: Ask, keep: Keep
) -> Closed:
    """Return the record of a call that has ended; a missing usage is estimated and flagged, never a zero."""
    usage = outcome.usage
    if usage is None:
        usage = _estimate(outcome, ask)
    cost, version = 0, ""
    if usage.input_tokens or usage.output_tokens:
        cost, version = catalog.cost(outcome.model, usage, opened.opened_us)[:2]
        outcome.cost_nusd = cost if version else None
    attempts = tuple(outcome.attempts)
    if len(attempts) > 1:
        attempts, extra, priced_by = _settled(attempts, opened, usage, catalog, ask)
        cost, version = cost + extra, version or priced_by
        if outcome.cost_nusd is not None:
            outcome.cost_nusd = cost
    return Closed(
        opened.id,
        closed_us,
        outcome.first_byte_us,
        outcome.state,
        outcome.status,
        outcome.error_code,
        outcome.error_message,
        outcome.model,
        outcome.model_served,
        outcome.provider,
        outcome.response_id,
        outcome.request_id,
        outcome.fingerprint,
        outcome.finish_reason,
        attempts,
        usage,
        cost,
        version,
        outcome.degraded,
        outcome.cache_hit,
        keep(outcome.response) if outcome.response else b"",
    )


def _settled(
    attempts: tuple[Attempt, ...], opened: Opened, answered: Usage, catalog: Catalog, ask: Ask
) -> tuple[tuple[Attempt, ...], int, str]:
    """Price the attempts beside the one that the call's own usage is of, where they may be billed.

    A provider bills what it was asked, also where we stopped waiting for it or its answer broke off. An unstreamed
    answer it may well have finished: as long as the one taken. A stream had not come to its first content.

    Returns:
        All attempts in the order of their beginning; what those cost; the table they are priced by, if any.
    """
    answer = next((attempt for attempt in attempts if not attempt.error_code), attempts[-1])
    settled, extra, priced_by = [], 0, ""
    for attempt in sorted(attempts, key=lambda attempt: attempt.started_us):
        if attempt is answer or attempt.error_code in NOT_BILLED:
            settled.append(attempt)
            continue
        usage = attempt.usage or Usage(
            input_tokens=answered.input_tokens or estimate_request_tokens(ask.body),
            output_tokens=0 if opened.stream else answered.output_tokens,
            estimated=True,
        )
        cost, version = catalog.cost(attempt.target, usage, opened.opened_us)[:2]
        extra, priced_by = extra + cost, priced_by or version
        settled.append(msgspec.structs.replace(attempt, usage=usage, cost_nusd=cost))
    return tuple(settled), extra, priced_by


def _estimate(outcome: Outcome, ask: Ask) -> Usage:
    """Estimate what an answered, cut or cancelled call used; one that nobody answered used nothing we know of."""
    last = outcome.attempts[-1].error_code if outcome.attempts else "unasked"
    if outcome.state == "error" and not outcome.text and last in NOT_BILLED:
        return Usage()
    return Usage(
        input_tokens=estimate_request_tokens(ask.body),
        output_tokens=estimate_tokens(outcome.text) if outcome.text else 0,
        estimated=True,
    )
