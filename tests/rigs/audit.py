"""Whether the store holds what happened: every call once, with its usage, and rollups that equal a recount."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from trimtab.storage import CallQuery, CallStore
from trimtab.storage.sqlite import open_call_store
from trimtab.types import Call

from .caller import Seen

CUBES = ("hour_model", "hour_prompt", "day_user")
_PAGE = 500


@dataclass
class Audit:
    """What was found; `problems` is empty where all is well."""

    rows: int = 0
    made: int = 0
    answered: int = 0
    states: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    """Answered or opened, and not in the store."""
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """In the store, with another end or usage than the client was told."""

    @property
    def problems(self) -> list[str]:
        return [
            *(f"lost: {text}" for text in self.lost[:5]),
            *(f"doubled: {text}" for text in self.doubled[:5]),
            *(f"wrong: {text}" for text in self.wrong[:5]),
        ]

    def __str__(self) -> str:
        ends = ", ".join(f"{state} {count}" for state, count in sorted(self.states.items()))
        return (
            f"{self.made} calls made, {self.answered} answered whole; {self.rows} rows ({ends}); "
            f"lost {len(self.lost)}, doubled {len(self.doubled)}, wrong {len(self.wrong)}"
        )


def audit(data: Path, calls: Iterable[Seen], asked_upstream: Iterable[str]) -> Audit:
    """Compare a folder's store, of which nothing runs any more, with what clients and the provider saw.

    Args:
        data: the data folder.
        calls: what clients saw.
        asked_upstream: markers of the calls that the provider was asked: those were opened before.
    """
    found = Audit()
    store = open_call_store(data, read_only=True)
    try:
        by_marker: dict[str, list[Call]] = {}
        for row in everything(store):
            found.rows += 1
            found.states[row.state] += 1
            by_marker.setdefault(marker_of(row), []).append(row)
        _check_rows(found, by_marker, calls, asked_upstream)
        for cube in CUBES:
            if store.rollup(cube) != store.recount(cube):
                found.wrong.append(f"rollup {cube} is not its recount")
        if sum(row.calls for row in store.rollup("hour_model")) != found.rows:
            found.wrong.append("the rollups count other calls than there are rows")
    finally:
        store.close()
    # The folder of requests to erase stays; requests in it do not.
    files = (path for path in (data / "log").rglob("*") if path.is_file())
    left = sorted(path.name for path in files if path.name != "recorder.lock")
    if left:
        found.wrong.append(f"left in the log: {left[:5]}")
    return found


def _check_rows(
    found: Audit, by_marker: dict[str, list[Call]], calls: Iterable[Seen], asked_upstream: Iterable[str]
) -> None:
    found.doubled = [marker for marker, rows in by_marker.items() if len(rows) > 1]
    found.lost = [f"{m}: the provider was asked" for m in asked_upstream if m not in by_marker]
    for seen in calls:
        found.made += 1
        found.answered += seen.answered
        rows = by_marker.get(seen.question.marker, ())
        if not rows:
            if seen.answered or seen.call_id:
                found.lost.append(f"{seen.question.marker}: the client saw {seen.status} {seen.call_id}")
            continue
        if (why := difference(seen, rows[0])) != "":
            found.wrong.append(f"{seen.question.marker}: {why}")


def difference(seen: Seen, row: Call) -> str:
    """Say in what a row is not what its client was told; empty where it is."""
    if seen.call_id and seen.call_id != row.id:
        return f"the client was told id {seen.call_id}, the row has {row.id}"
    if not seen.answered:
        return ""
    if row.state != "ok" or row.closed is None:
        return f"answered whole, and stored as {row.state}"
    usage = row.closed.usage
    if usage.estimated:
        return "its usage was told by the provider, and is stored as an estimate"
    stored = (usage.input_tokens, usage.output_tokens)
    if seen.usage not in (None, stored):
        return f"the client was told usage {seen.usage}, the row has {stored}"
    if seen.question.usage not in (None, stored):
        return f"the provider reported usage {seen.question.usage}, the row has {stored}"
    return ""


def everything(store: CallStore) -> Iterator[Call]:
    """Every row, newest first."""
    before = ""
    while True:
        page = store.find(CallQuery(before=before, limit=_PAGE), payload=True)
        yield from page
        if len(page) < _PAGE:
            return
        before = page[-1].id


def marker_of(row: Call) -> str:
    """The user's message of a stored call; the id of one of the demo, whose words repeat, or without words."""
    if row.opened.project == "demo" or not row.opened.request:
        return row.id
    return str(msgspec.json.decode(row.opened.request)["messages"][-1]["content"])
