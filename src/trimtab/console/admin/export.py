"""Calls as a file that holds everything: a line of JSON each."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta, tzinfo

import msgspec

from trimtab.api import call_row
from trimtab.storage import CallQuery
from trimtab.types import Call

from .form import Form

MEDIA_TYPE = "application/x-ndjson; charset=utf-8"

MOST = 10_000_000
"""Calls in one file."""


def query_of(form: Form, zone: tzinfo) -> CallQuery:
    """Return which calls a form asks for; its days are the visitor's, the last one included."""
    since, until = _day(form, "since", zone), _day(form, "until", zone)
    return CallQuery(
        project=form.text("project"),
        user=form.text("user"),
        session=form.text("session"),
        since_us=_us(since) if since else 0,
        until_us=_us(until + timedelta(days=1)) if until else 0,
        limit=MOST,
    )


async def lines(pages: AsyncIterator[list[Call]]) -> AsyncIterator[bytes]:
    """Yield a line of JSON for every call, a page of calls at a time."""
    async for calls in pages:
        yield b"".join(msgspec.json.encode(call_row(call, payload=True)) + b"\n" for call in calls)


def file_name(now_us: int) -> str:
    """Return what the file is called: `trimtab-calls-20261125.jsonl`."""
    return f"trimtab-calls-{datetime.fromtimestamp(now_us / 1e6, UTC):%Y%m%d}.jsonl"


def _day(form: Form, field: str, zone: tzinfo) -> datetime | None:
    value = form.text(field, longest=10)
    if not value:
        return None
    try:
        day = date.fromisoformat(value)
    except ValueError:
        form.problem(field, "day")
        return None
    return datetime(day.year, day.month, day.day, tzinfo=zone)


def _us(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)
