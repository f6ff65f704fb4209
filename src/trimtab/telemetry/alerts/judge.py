"""The judgement: from facts to what stands and what is to be told, with hysteresis."""

from collections.abc import Iterable, Sequence

import msgspec

from trimtab.types import AlertEvent, AlertRule, AlertState, new_id

from .facts import Facts
from .kinds import KINDS, Kind, Reading, is_past, shown


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How one rule stands."""

    rule: str
    state: AlertState
    since_us: int
    """When it came into this state; 0: not known."""
    value: float | None = None
    about: str = ""


class _Memory:
    """What is remembered of one rule between two looks."""

    __slots__ = ("crossed_us", "firing", "since_us")

    def __init__(self, since_us: int, *, firing: bool) -> None:
        self.firing = firing
        self.since_us = since_us
        self.crossed_us: int | None = None
        """Since when the value is on the other side of the edge that matters."""


class Judge:
    """Judges all rules at each look. Begins where the last process ended, by the last event of each rule."""

    def __init__(self, last: Iterable[AlertEvent] = ()) -> None:
        self._memory = {event.rule: _Memory(event.at_us, firing=event.state == "firing") for event in last}
        self._standings: dict[str, Standing] = {}

    def look(self, rules: Sequence[AlertRule], facts: Facts) -> list[AlertEvent]:
        """Judge the rules by the facts; return what has begun or ceased.

        A rule that is gone or not enabled any more is forgotten; if it fired, that ends with an event.
        """
        events = []
        standing = {}
        for rule in rules:
            if not rule.enabled:
                continue
            memory = self._memory.setdefault(rule.name, _Memory(0, firing=False))
            reading = KINDS[rule.kind].read(facts, rule, window_of(rule))
            if reading is not None and self._turns(rule, memory, reading.value, facts.now_us):
                memory.firing, memory.since_us, memory.crossed_us = not memory.firing, facts.now_us, None
                events.append(_event(rule, reading, facts.now_us, firing=memory.firing))
            standing[rule.name] = _standing(rule, memory, reading)
        gone = {name: self._memory.pop(name) for name in sorted(self._memory.keys() - standing.keys())}
        events += (_withdrawn(name, facts.now_us) for name, memory in gone.items() if memory.firing)
        self._standings = standing
        return events

    def standings(self) -> dict[str, Standing]:
        """Return how each rule stood at the last look."""
        return dict(self._standings)

    def _turns(self, rule: AlertRule, memory: _Memory, value: float, now_us: int) -> bool:
        kind = KINDS[rule.kind]
        past = is_past(kind, value, clear_of(rule) if memory.firing else threshold_of(rule))
        if past == memory.firing:
            memory.crossed_us = None
            return False
        if memory.crossed_us is None:
            memory.crossed_us = now_us
        return now_us - memory.crossed_us >= rule.hold_s * 1_000_000


def threshold_of(rule: AlertRule) -> float:
    """Return where a rule fires."""
    return KINDS[rule.kind].threshold if rule.threshold is None else rule.threshold


def clear_of(rule: AlertRule) -> float:
    """Return where a rule ceases: its own, or as far inside its threshold as its kind's default is inside the kind's.

    It never lies on the wrong side of the threshold.
    """
    kind = KINDS[rule.kind]
    threshold = threshold_of(rule)
    clear = threshold * kind.clear / kind.threshold if rule.clear is None else rule.clear
    return max(clear, threshold) if kind.below else min(clear, threshold)


def window_of(rule: AlertRule) -> int:
    """Return how far a rule looks back, in seconds."""
    return KINDS[rule.kind].window_s if rule.window_s is None else rule.window_s


def _standing(rule: AlertRule, memory: _Memory, reading: Reading | None) -> Standing:
    state: AlertState = "firing" if memory.firing else "ok"
    if not memory.firing and memory.crossed_us is not None:
        state = "pending"
    elif not memory.firing and reading is None:
        state = "unknown"
    value, about = (None, "") if reading is None else reading
    return Standing(rule=rule.name, state=state, since_us=memory.since_us, value=value, about=about)


def _event(rule: AlertRule, reading: Reading, now_us: int, *, firing: bool) -> AlertEvent:
    kind = KINDS[rule.kind]
    return AlertEvent(
        id=new_id(),
        at_us=now_us,
        rule=rule.name,
        kind=rule.kind,
        state="firing" if firing else "resolved",
        value=reading.value,
        threshold=threshold_of(rule),
        text=text_of(rule, kind, reading, firing=firing),
        project=rule.project,
    )


def text_of(rule: AlertRule, kind: Kind, reading: Reading, *, firing: bool) -> str:
    """Say what a rule saw, in one sentence."""
    window_s = window_of(rule)
    window = f"{window_s // 60} min" if window_s % 60 == 0 else f"{window_s} s"
    seen = kind.says.format(
        value=shown(kind.unit, reading.value), about=reading.about or "none", window=window
    )
    whose = f" (project {rule.project})" if rule.project and kind.by_project else ""
    edge = shown(kind.unit, threshold_of(rule))
    limit = f"fires {'below' if kind.below else 'from'} {edge}" + ("" if kind.below else " on")
    return f"{rule.name}: {seen}{whose}; {limit}" if firing else f"{rule.name} is over: {seen}{whose}"


def _withdrawn(name: str, now_us: int) -> AlertEvent:
    return AlertEvent(
        id=new_id(),
        at_us=now_us,
        rule=name,
        kind="",
        state="resolved",
        value=0.0,
        threshold=0.0,
        text=f"{name} is over: the rule was removed or disabled",
    )
