"""`trimtab tail`: calls as they finish."""

import time
from typing import Annotated

import msgspec
from cyclopts import Parameter, validators

from trimtab.storage import CallQuery, call_json
from trimtab.types import Call, SystemClock

from .calls import Filters, call_query
from .callview import call_line
from .options import AsJson, Place
from .reach import AdminCalls, Calls, running
from .terminal import json_text, note, terminal_width, write

LOOK_S = 0.5
"""Between two looks at the newest calls."""

SWEEP_S = 5.0
"""Between two looks at all that may still be open: calls that took long are not among the newest."""

LONGEST_CALL_US = 600 * 1_000_000
"""The gateway's total deadline, unless configured: no call is open for longer."""

NEWEST = 200
SWEPT = 5000
"""Calls looked at each time, at most."""


class Follower:
    """Finds calls that were not there at the last look."""

    def __init__(self, store: Calls, query: CallQuery, began_us: int) -> None:
        self._store = store
        self._query = query
        self._began_us = began_us
        self._seen: set[str] = set()

    def skip(self, last: int) -> list[Call]:
        """Take what is there as seen, but for the `last` newest calls, which are returned oldest first."""
        newest = self._store.find(msgspec.structs.replace(self._query, limit=last)) if last else []
        self._seen.update(call.id for call in (*newest, *self._find(SWEPT)))
        return newest[::-1]

    def look(self, limit: int) -> list[Call]:
        """Return calls not returned before, in the order of their ends."""
        found = [call for call in self._find(limit) if call.id not in self._seen]
        self._seen.update(call.id for call in found)
        return sorted(found, key=_end_us)

    def _find(self, limit: int) -> list[Call]:
        since_us = max(self._query.since_us, self._began_us - LONGEST_CALL_US)
        return self._store.find(msgspec.structs.replace(self._query, since_us=since_us, limit=limit))


def tail(
    *words: str,
    filters: Filters | None = None,
    last: Annotated[int, Parameter(show_default=True, validator=validators.Number(gte=0, lte=1000))] = 10,
    place: Place | None = None,
    json: AsJson = False,
) -> int:
    """Follow calls as they finish, until Ctrl-C. Looks twice a second.

    On a gateway with more than some 400 calls a second, or with many that take minutes, some may be left
    out; they are in `trimtab calls`.

    Args:
        words: Words that must all occur in request or answer.
        filters: Which calls; --limit and --before have no meaning here.
        last: Show so many of the newest calls first.
        place: Which installation.
        json: Print one JSON document a line.
    """
    now_us = SystemClock().now_us()
    store = AdminCalls(running(place or Place()))
    query = call_query(words, filters or Filters(), now_us)
    follower = Follower(store, query, now_us)
    _print(store, follower.skip(last), json=json)
    note("Following; Ctrl-C ends it.", "dim")
    sweep_at = time.monotonic() + SWEEP_S
    while True:
        time.sleep(LOOK_S)  # the pace of following: there is nothing to wait on across HTTP
        sweep = time.monotonic() >= sweep_at
        if sweep:
            sweep_at = time.monotonic() + SWEEP_S
        _print(store, follower.look(SWEPT if sweep else NEWEST), json=json)


def _print(store: Calls, calls: list[Call], *, json: bool) -> None:
    now_us = SystemClock().now_us()
    for call in calls:
        if json:
            write(json_text(call_json(call, payload=False)))
        else:
            write(call_line(store.get(call.id) or call, now_us, terminal_width()))


def _end_us(call: Call) -> int:
    return call.closed.closed_us if call.closed else call.opened.opened_us
