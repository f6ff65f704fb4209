"""The newest calls first, found by their numbers.

Numbers follow the order in which calls were stored, which is nearly that of time: long calls come late, and an import
comes in any order. A zone is 1024 numbers in a row, with bounds of the places (days.py) of its calls. Zones are walked
by their highest place, and what was found in them waits until no zone that is left can hold anything newer.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import apsw

_ZONE_BITS = 10


class Zone(NamedTuple):
    """Numbers from `zone << 10` on."""

    zone: int
    bottom: int
    """No call in it stands below this place."""
    top: int
    """None stands above it."""


class Range(NamedTuple):
    """Numbers to search at once."""

    first: int
    end: int
    """The first number beyond."""
    top_of_rest: int
    """No call in ranges that follow stands above this place; -1: none follow."""


Found = tuple[int, int, str]
"""A call's place, number and kind."""


def number(connection: apsw.Connection, ids: Iterable[bytes]) -> dict[bytes, int]:
    """Return new numbers for calls, in the order of their ids, in the caller's transaction."""
    blobs = sorted(ids)
    last: int = connection.execute(
        "UPDATE meta SET value = value + ? WHERE name = 'docs' RETURNING value", (len(blobs),)
    ).get
    return dict(zip(blobs, range(last - len(blobs) + 1, last + 1), strict=True))


def note(connection: apsw.Connection, placed: Iterable[tuple[int, int]]) -> None:
    """Widen the zones of calls just stored, in the caller's transaction.

    Args:
        connection: the file's.
        placed: (number, place) of each.
    """
    zones: dict[int, tuple[int, int]] = {}
    for doc, place in placed:
        bottom, top = zones.get(doc >> _ZONE_BITS, (place, place))
        zones[doc >> _ZONE_BITS] = min(bottom, place), max(top, place)
    connection.executemany(
        "INSERT INTO zone VALUES (?, ?, ?) ON CONFLICT DO UPDATE "
        "SET bottom = min(bottom, excluded.bottom), top = max(top, excluded.top)",
        [(zone, *bounds) for zone, bounds in zones.items()],
    )


def zones_of(connection: apsw.Connection) -> list[Zone]:
    """Return all zones of a file."""
    return [Zone(*row) for row in connection.execute("SELECT zone, bottom, top FROM zone")]


def ranges(zones: Iterable[Zone]) -> Iterator[Range]:
    """Join zones to ranges that double in size, the newest first: a rare word needs few searches then."""
    order = sorted(zones, key=lambda zone: zone.top, reverse=True)
    at, most = 0, 1
    while at < len(order):
        first = last = order[at].zone
        at += 1
        while at < len(order) and last - first + 1 < most and order[at].zone in (first - 1, last + 1):
            first, last = min(first, order[at].zone), max(last, order[at].zone)
            at += 1
        most *= 2
        yield Range(first << _ZONE_BITS, (last + 1) << _ZONE_BITS, order[at].top if at < len(order) else -1)


def newest_first(found: Callable[[Range], list[Found]], among: Iterable[Range]) -> Iterator[Found]:
    """Yield what is found in ranges in the order of places, highest first; no further range than needed is searched."""
    waiting: list[Found] = []
    for one in among:
        waiting = sorted(waiting + found(one), reverse=True)
        ready = sum(1 for row in waiting if row[0] >= one.top_of_rest)
        yield from waiting[:ready]
        del waiting[:ready]
    yield from waiting
