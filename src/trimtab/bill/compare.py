"""The rules by which a difference between our rows and a provider's export gets its name."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import msgspec

from trimtab.storage import BillRow
from trimtab.types import format_usd

from .exports import QUARTER_US, Line

Kind = Literal[
    "missing_here", "missing_there", "tokens", "price", "unpriced", "timezone", "bucket_edge", "estimated",
    "unfinished", "retried", "reported",
]  # fmt: skip

MARGIN_US = 14 * 3600 * 1_000_000
"""How far a time zone lies from UTC at most: so much more of our rows is needed on either side."""

_STEP_US = 2 * QUARTER_US
_PARTS = ("requests", "input_tokens", "cached_tokens", "output_tokens")


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that differs."""

    kind: Kind
    model: str
    start_us: int
    end_us: int
    ours: int
    theirs: int
    unit: str
    """What `ours` and `theirs` count: `requests`, `input_tokens`, ..., `cost_nusd`, `calls`."""
    text: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a comparison found."""

    start_us: int
    end_us: int
    lines: int
    ours_nusd: int
    theirs_nusd: int | None
    """None where the export has no costs."""
    differences: tuple[Difference, ...]
    notes: tuple[str, ...] = ()
    """What differs by rounding alone."""

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.differences


class Sums(NamedTuple):
    """What we have for one model in one stretch of time."""

    requests: int = 0
    unfinished: int = 0
    retried: int = 0
    estimated: int = 0
    unpriced: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost_nusd: int = 0

    def plus(self, row: BillRow) -> "Sums":
        """Return the sums with a row added."""
        return Sums(*(have + getattr(row, name) for name, have in self._asdict().items()))


Ours = Callable[[str, int, int], Sums]
"""(model, since, until) → what we have; an empty model means all."""


def compare(lines: Sequence[Line], rows: Sequence[BillRow]) -> Report:
    """Name every difference between an export and our rows.

    Args:
        lines: the export's.
        rows: ours by (`quarter`, `served`), of the provider alone, from `MARGIN_US` before the export's first line to
            as much after its last.
    """
    start, end = min(line.start_us for line in lines), max(line.end_us for line in lines)
    by_model: dict[str, dict[int, BillRow]] = defaultdict(dict)
    for row in rows:
        by_model[row.key[1]][int(row.key[0])] = row

    def ours(model: str, since: int, until: int) -> Sums:
        """Add our rows up."""
        sums = Sums()
        for name in by_model if not model else [model]:
            for at, row in by_model.get(name, {}).items():
                if since <= at < until:
                    sums = sums.plus(row)
        return sums

    found: list[Difference] = []
    notes: list[str] = []
    grouped: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        grouped[line.model].append(line)
    for model in sorted(grouped):
        _model(model, grouped[model], ours, found, notes)
    if "" not in grouped:
        found += _missing_there(set(by_model) - set(grouped), ours, start, end)
    inside = [row for row in rows if start <= int(row.key[0]) < end]
    found += _reported(inside, start, end)
    costs = [line.cost_nusd for line in lines if line.cost_nusd is not None]
    return Report(
        start_us=start,
        end_us=end,
        lines=len(lines),
        ours_nusd=sum(row.cost_nusd for row in inside),
        theirs_nusd=sum(costs) if costs else None,
        differences=tuple(found),
        notes=tuple(notes),
    )


def _model(model: str, lines: list[Line], ours: Ours, found: list[Difference], notes: list[str]) -> None:
    """Compare one model's lines."""
    shift = _shift(model, lines, ours)
    if shift:
        found.append(_of_shift(model, lines, ours, shift))
        return
    edge = _edges(model, lines, ours)
    for line in lines:
        have = ours(model, line.start_us, line.end_us)
        if (line.start_us, line.end_us) in edge:
            text = f"{abs(edge[line.start_us, line.end_us])} requests stand in the neighbouring stretch there"
            found.append(_made("bucket_edge", line, "requests", have.requests, line.requests or 0, text))
        else:
            _line(line, have, found, notes)


def _differs(line: Line, have: Sums) -> bool:
    return any(getattr(line, part) not in (None, getattr(have, part)) for part in _PARTS)


def _shift(model: str, lines: list[Line], ours: Ours) -> int:
    """Return by how many microseconds the export's days are off, where that alone explains all that differs."""
    if len(lines) < 2 or not any(_differs(li, ours(model, li.start_us, li.end_us)) for li in lines):
        return 0
    for step in range(1, MARGIN_US // _STEP_US + 1):
        for by in (step * _STEP_US, -step * _STEP_US):
            if not any(_differs(li, ours(model, li.start_us + by, li.end_us + by)) for li in lines):
                return by
    return 0


def _of_shift(model: str, lines: list[Line], ours: Ours, shift: int) -> Difference:
    line = next(li for li in lines if _differs(li, ours(model, li.start_us, li.end_us)))
    hours = shift / 3_600_000_000
    side = "later" if hours > 0 else "earlier"
    text = f"all stretches agree once they begin {abs(hours):g} h {side}: name their time zone"
    have = ours(model, line.start_us, line.end_us)
    return _made("timezone", line, "requests", have.requests, line.requests or 0, text)


def _edges(model: str, lines: list[Line], ours: Ours) -> dict[tuple[int, int], int]:
    """Return the stretches, two by two, between which requests only changed places: a call has a start and an end."""
    edge: dict[tuple[int, int], int] = {}
    for one, two in pairwise(lines):
        if one.end_us != two.start_us or (one.start_us, one.end_us) in edge:
            continue
        a, b = ours(model, one.start_us, one.end_us), ours(model, two.start_us, two.end_us)
        off = [
            (getattr(one, part) - getattr(a, part), getattr(two, part) - getattr(b, part))
            for part in _PARTS
            if getattr(one, part) is not None and getattr(two, part) is not None
        ]
        if any(x for x, _ in off) and all(x == -y for x, y in off):
            edge[one.start_us, one.end_us], edge[two.start_us, two.end_us] = off[0]
    return edge


def _line(line: Line, have: Sums, found: list[Difference], notes: list[str]) -> None:
    """Name what differs in one line."""
    said = any(getattr(line, part) for part in (*_PARTS, "cost_nusd"))
    if said and not have.requests and not have.unfinished and not have.retried:
        unit = (
            "requests" if line.requests is not None else "input_tokens" if line.input_tokens else "cost_nusd"
        )
        text = "the provider billed what we have no row of: calls past Trimtab, or rows that are gone"
        found.append(_made("missing_here", line, unit, 0, getattr(line, unit) or 0, text))
        return
    before = len(found)
    _requests(line, have, found)
    if len(found) == before:
        _tokens(line, have, found)
    if len(found) == before and line.cost_nusd is not None:
        _cost(line, have, found, notes)


def _requests(line: Line, have: Sums, found: list[Difference]) -> None:
    if line.requests is None or line.requests == have.requests:
        return
    more = line.requests - have.requests
    if more < 0:
        text = f"{-more} requests that we have a bill for are not in the export"
        found.append(_made("missing_there", line, "requests", have.requests, line.requests, text))
        return
    guesses: tuple[tuple[Kind, int, str], ...] = (
        (
            "unfinished",
            have.unfinished,
            "calls whose process died may have been billed; we have no figures of them",
        ),
        (
            "retried",
            have.retried,
            "attempts that were given up may have been billed; our tokens are of the last one",
        ),
    )
    for kind, count, text in guesses:
        if count and more > 0:
            explained = min(count, more)
            words = f"{explained} of {count} {text}"
            found.append(_made(kind, line, "calls", count, explained, words))
            more -= explained
    if more > 0:
        text = f"{more} requests were billed that we have no row of"
        found.append(_made("missing_here", line, "requests", have.requests, line.requests, text))


def _tokens(line: Line, have: Sums, found: list[Difference]) -> None:
    off = [part for part in _PARTS[1:] if getattr(line, part) not in (None, getattr(have, part))]
    if not off:
        return
    part = off[0]
    kind: Kind = "tokens"
    text = f"{', '.join(off)} differ, in as many requests"
    if have.estimated:
        kind, text = (
            "estimated",
            f"{have.estimated} rows are estimates of ours, for the provider never said: {text}",
        )
    elif line.requests is None and have.unfinished:
        kind, text = "unfinished", f"{have.unfinished} calls whose process died may have been billed: {text}"
    elif line.requests is None and have.retried:
        kind, text = "retried", f"{have.retried} attempts that were given up may have been billed: {text}"
    found.append(_made(kind, line, part, getattr(have, part), getattr(line, part), text))


def _cost(line: Line, have: Sums, found: list[Difference], notes: list[str]) -> None:
    assert line.cost_nusd is not None
    off = line.cost_nusd - have.cost_nusd
    if not off:
        return
    if have.unpriced:
        text = f"{have.unpriced} rows have no price here; `trimtab prices` says how to give them one"
        found.append(_made("unpriced", line, "cost_nusd", have.cost_nusd, line.cost_nusd, text))
    elif abs(off) <= line.slack_nusd + have.requests:
        # Each of our rows is rounded to a nano-USD, their amount to its last digit.
        notes.append(f"{line.model or 'all models'}: {format_usd(off)} by rounding")
    elif have.estimated:
        text = f"{have.estimated} rows are estimates of ours, and the cost differs by {format_usd(off)}"
        found.append(_made("estimated", line, "cost_nusd", have.cost_nusd, line.cost_nusd, text))
    elif have.retried and off < 0:
        text = f"{have.retried} attempts that were given up are in our cost, by estimate: {format_usd(-off)} less there"
        found.append(_made("retried", line, "cost_nusd", have.cost_nusd, line.cost_nusd, text))
    else:
        text = f"the tokens agree, and the price does not: {format_usd(off)} more there"
        found.append(_made("price", line, "cost_nusd", have.cost_nusd, line.cost_nusd, text))


def _missing_there(models: Iterable[str], ours: Ours, start: int, end: int) -> list[Difference]:
    found = []
    for model in sorted(models):
        have = ours(model, start, end)
        if have.requests:
            line = Line(start_us=start, end_us=end, model=model)
            text = "the export has no line of this model"
            found.append(_made("missing_there", line, "requests", have.requests, 0, text))
    return found


def _reported(rows: list[BillRow], start: int, end: int) -> list[Difference]:
    """Compare what the provider said in its replies with what we computed for the same rows."""
    sums: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for row in rows:
        a, b = sums[row.key[1]]
        sums[row.key[1]] = a + row.computed_nusd, b + row.reported_cost_nusd
    found = []
    for model, (computed, reported) in sorted(sums.items()):
        calls = sum(row.reported for row in rows if row.key[1] == model)
        if abs(computed - reported) > calls:
            line = Line(start_us=start, end_us=end, model=model)
            text = f"replies of {calls} calls said {format_usd(reported)}, and our prices give {format_usd(computed)}"
            found.append(_made("reported", line, "cost_nusd", computed, reported, text))
    return found


def _made(kind: Kind, line: Line, unit: str, ours: int, theirs: int, text: str) -> Difference:
    return Difference(
        kind=kind,
        model=line.model,
        start_us=line.start_us,
        end_us=line.end_us,
        ours=ours,
        theirs=theirs,
        unit=unit,
        text=text,
    )
