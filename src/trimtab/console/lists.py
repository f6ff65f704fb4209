"""The list of calls: which filter an address means, which columns are shown, what stands in a row."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlencode

from trimtab.api import call_query
from trimtab.storage import CallQuery
from trimtab.types import Call, CallerError

from .content.conversation import preview
from .sums import SPANS
from .visit import Visit

COLUMNS = (
    "time", "state", "model", "words", "tokens", "cost", "took",
    "first_byte", "user", "session", "key", "project", "route", "prompt", "tags", "finish", "id",
)  # fmt: skip
"""In the order in which they stand; the first are shown unless others are chosen."""

SHOWN = COLUMNS[:7]

MAIN_FILTERS = ("text", "state", "model")
MORE_FILTERS = (
    "provider", "error_code", "user", "session", "key", "tag",
    "route", "release", "purpose", "since_us", "until_us",
)  # fmt: skip

FILTERS = (*MAIN_FILTERS, *MORE_FILTERS)

CHOICES = {
    "state": ("ok", "error", "cancelled", "unfinished"),
    "purpose": ("live", "eval", "probe", "judge", "shadow", "replay"),
}
PAGE = 50

POLL_S = 0.25
"""The live tail asks anew at most this long after an answer: four times a second while calls stream in."""

HOLD_S = 0.4
"""How long one of them is held while nothing has changed."""

LOOK_S = 0.1
"""Between two looks of a request that is held: what a call waits for, beside the recorder's own pause."""

_LATEST_US = 253_402_300_799_999_999
"""The end of the year 9999."""


@dataclass(frozen=True)
class Row:
    """One call of a list."""

    call: Call
    asked: str
    answered: str

    @property
    def model(self) -> str:
        """The model that answered, or was to."""
        closed = self.call.closed
        return (closed.model if closed else "") or self.call.opened.model or self.call.opened.model_asked

    @property
    def cost_nusd(self) -> int | None:
        """What it cost; None where no price is known."""
        closed = self.call.closed
        return closed.cost_nusd if closed is not None and closed.price_version else None

    @property
    def first_byte_ms(self) -> float | None:
        """Milliseconds to the first content; None where there was none."""
        closed = self.call.closed
        return closed.first_byte_us / 1000 if closed is not None and closed.first_byte_us else None


def filters(visit: Visit) -> dict[str, str]:
    """Return the filters in an address, as it has them: what links of the page carry on."""
    found = {name: visit.query[name] for name in FILTERS if name in visit.query}
    if visit.query.get("range") in {span.name for span in SPANS}:
        found["range"] = visit.query["range"]
    return found


def query_of(visit: Visit, *, limit: int = PAGE) -> CallQuery:
    """Return the query that an address means; `range` counts back from now.

    Raises:
        CallerError: a filter's value cannot be used.
    """
    fields = filters(visit)
    span = next((span for span in SPANS if span.name == fields.pop("range", "")), None)
    if span is not None:
        fields["since_us"] = str(visit.now_us - span.seconds * 1_000_000)
    fields |= {name: visit.query[name] for name in ("project", "before") if name in visit.query}
    query = call_query(fields | {"limit": str(limit)})
    for name in ("since_us", "until_us"):
        if not 0 <= getattr(query, name) <= _LATEST_US:
            raise CallerError(f"{name} must be microseconds since 1970, at most {_LATEST_US}", param=name)
    return query


def columns_of(visit: Visit) -> tuple[str, ...]:
    """Return the columns that an address names, the usual ones where it names none."""
    named = [*visit.request.query_params.getlist("cols"), ""][0].split(",")
    named += visit.request.query_params.getlist("col")
    chosen = tuple(column for column in COLUMNS if column in named)
    return chosen or SHOWN


async def rows_of(visit: Visit, query: CallQuery, *, words: bool) -> list[Row]:
    """Return the rows of a query, newest first; with `words`, the last question and the answer are among them."""
    calls = await visit.control.records.find(query, payload=words)
    return [Row(call, *(preview(call) if words else ("", ""))) for call in calls]


def digest(rows: Iterable[Row]) -> str:
    """Return what changes when a row of the list does: so that a list that stays is not sent again."""
    seen = hashlib.sha256()
    for row in rows:
        seen.update(f"{row.call.id} {row.call.state} {len(row.call.feedback)};".encode())
    return seen.hexdigest()[:16]


def view_query(visit: Visit) -> str:
    """Return the filters of an address as a view keeps them: its fields of `CallQuery` alone."""
    kept = {name: value for name, value in filters(visit).items() if name != "range"}
    if visit.project:
        kept["project"] = visit.project
    return urlencode(kept)
