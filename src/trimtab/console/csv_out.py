"""Calls as CSV for spreadsheets, which run what looks like a formula: such cells are made text."""

import csv
import io
from collections.abc import AsyncIterator

from trimtab.storage import BillRow
from trimtab.types import Call

from .content.conversation import preview
from .lists import Row
from .shown import iso

HEADER = (
    "id", "time_utc", "project", "state", "error_code", "model_asked", "model", "model_served", "provider",
    "input_tokens", "output_tokens", "cost_usd", "latency_ms", "first_byte_ms", "attempts", "finish_reason",
    "user", "session", "key", "route", "release", "prompt", "prompt_version", "tags", "question", "answer",
)  # fmt: skip

MOST = 100_000
"""Rows of one download."""

_BOM = "\ufeff"
"""Without it, spreadsheets take UTF-8 for something else, and Japanese for noise."""

_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")
_HIDDEN = " \t\r\n\u00a0\u200b\ufeff"


def guarded(text: str) -> str:
    """Return a cell that no spreadsheet takes for a formula: an apostrophe before what could begin one.

    The characters are those of OWASP's page on CSV injection, full-width forms and leading blanks included.

    >>> guarded("=1+1"), guarded("plain"), guarded(" @SUM(A1)")
    ("'=1+1", 'plain', "' @SUM(A1)")
    """
    bare = text.lstrip(_HIDDEN)
    risky = text.startswith(_STARTS) or bare.startswith((*_STARTS, "\uff1d", "\uff0b", "\uff0d", "\uff20"))
    return f"'{text}" if risky else text


async def csv_lines(pages: AsyncIterator[list[Call]], *, words: bool) -> AsyncIterator[bytes]:
    """Yield a CSV file (RFC 4180) page by page; with `words`, the question and the answer are in it."""
    yield (_BOM + _lines([HEADER])).encode()
    async for calls in pages:
        yield _lines([_cells(call, words=words) for call in calls]).encode()


def spend_csv(by: str, rows: list[BillRow]) -> bytes:
    """Return a bill as a CSV file; a row a line."""
    figures = (
        "calls", "requests", "unfinished", "estimated", "unpriced", "input_tokens", "cached_tokens",
        "cache_write_tokens", "output_tokens",
    )  # fmt: skip
    made: list[tuple[str, ...]] = [(by, *figures, "cost_usd", "reported_cost_usd")]
    for row in rows:
        counts = (str(getattr(row, name)) for name in figures)
        reported = f"{row.reported_cost_nusd / 1e9:.9f}" if row.reported else ""
        made.append((guarded(row.key[0]), *counts, f"{row.cost_nusd / 1e9:.9f}", reported))
    return (_BOM + _lines(made)).encode()


def _lines(rows: list[tuple[str, ...]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(rows)
    return out.getvalue()


def _cells(call: Call, *, words: bool) -> tuple[str, ...]:
    opened, closed = call.opened, call.closed
    row = Row(call, *(preview(call) if words else ("", "")))
    usage = closed.usage if closed else None
    figures = (
        str(usage.input_tokens) if usage else "",
        str(usage.output_tokens) if usage else "",
        "" if row.cost_nusd is None else f"{row.cost_nusd / 1e9:.9f}",
        "" if call.latency_ms is None else f"{call.latency_ms:.1f}",
        "" if row.first_byte_ms is None else f"{row.first_byte_ms:.1f}",
        str(len(closed.attempts)) if closed else "",
    )
    who = (opened.id, iso(opened.opened_us), opened.project, call.state, closed.error_code if closed else "")
    models = (
        opened.model_asked,
        row.model,
        *((closed.model_served, closed.provider) if closed else ("", "")),
    )
    rest = (
        closed.finish_reason if closed else "", opened.user, opened.session, opened.key, opened.route,
        opened.release, opened.prompt_name, str(opened.prompt_version or ""), " ".join(opened.tags),
        row.asked, row.answered,
    )  # fmt: skip
    return (*map(guarded, who), *map(guarded, models), *figures, *map(guarded, rest))
