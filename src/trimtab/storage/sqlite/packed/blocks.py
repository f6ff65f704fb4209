"""Payloads of a day file: of each call alone at first, of some dozens together as soon as there are as many.

A block holds the calls whose numbers stand after the last number of the block before, and up to its own. So a block
is made of neighbours only: those that wait alone are put in a block before a younger one is made.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import apsw

from trimtab.storage.sqlite.payload import BLOCK_CODEC, CODEC, Parts, PayloadCodec
from trimtab.types import StorageError

BLOCK_CALLS = 32
"""Calls of a block. 64 take 6 % less disk, and twice the time to read one of them."""

BLOCK_BYTES = 262_144
"""Of payloads; a block is closed when it has as many. Of long calls few suffice: they are alike in long stretches."""

_KEPT_BLOCKS = 8
"""Unpacked blocks remembered: a page of calls, or of matches, comes from few."""

NOTHING: Parts = (b"", b"", b"")


class Payloads:
    """The payloads of an open file. Raises `StorageError` for one that is damaged."""

    def __init__(self, connection: apsw.Connection, codec: PayloadCodec) -> None:
        self._connection = connection
        self._codec = codec
        self._kept: dict[int, dict[int, Parts]] = {}
        """By a block's last number. A number never gets another payload, so what was read once stays true."""

    def store(self, payloads: Mapping[int, Parts]) -> None:
        """Store payloads by the calls' numbers, which ascend and are above all stored before."""
        if len(payloads) < BLOCK_CALLS:
            self._connection.executemany(
                "INSERT INTO payload (doc, codec, body) VALUES (?, ?, ?)",
                ((doc, CODEC, self._codec.pack(parts)) for doc, parts in payloads.items()),
            )
            return
        self._pack(self._alone(), rest=True)
        groups = list(_groups(((doc, sum(map(len, parts))) for doc, parts in payloads.items()), rest=True))
        if len(groups) > 1 and len(groups[-1]) < BLOCK_CALLS // 2:
            groups[-2:] = [groups[-2] + groups[-1]]
        for group in groups:
            self._make({doc: payloads[doc] for doc in group})

    def pack(self, before: int | None) -> None:
        """Put waiting payloads in blocks, where there are enough for one.

        Args:
            before: the first number that must go on standing alone; None: there is none.
        """
        self._pack([one for one in self._alone() if before is None or one[0] < before], rest=False)

    def _alone(self) -> list[tuple[int, int]]:
        """Return (number, bytes, about) of the payloads that stand alone."""
        found: list[Any] = self._connection.execute(
            "SELECT doc, 2 * length(body) FROM payload ORDER BY doc"
        ).fetchall()
        return found

    def _pack(self, sizes: Iterable[tuple[int, int]], *, rest: bool) -> None:
        for group in _groups(sizes, rest=rest):
            rows: list[Any] = self._connection.executemany(
                "SELECT doc, codec, body FROM payload WHERE doc = ?", ((doc,) for doc in group)
            ).fetchall()
            members = {}
            for doc, codec, body in rows:
                with suppress(StorageError):  # it stays alone; `get` says so to whoever asks for this call
                    members[doc] = self._codec.unpack(codec, body)
            if members:
                self._make(members)
                self._connection.executemany("DELETE FROM payload WHERE doc = ?", ((doc,) for doc in members))

    def _make(self, members: Mapping[int, Parts]) -> None:
        self._connection.execute(
            "INSERT INTO block (last, codec, body) VALUES (?, ?, ?)",
            (max(members), BLOCK_CODEC, self._codec.pack_block(members)),
        )

    def get(self, doc: int) -> Parts:
        """Return the payload of a call by its number; empty where it has none."""
        for members in self._kept.values():
            if doc in members:
                return members[doc]
        row = self._connection.execute("SELECT codec, body FROM payload WHERE doc = ?", (doc,)).get
        if row is not None:
            return self._codec.unpack(*row)
        last = self._block_of(doc)
        return NOTHING if last is None else self._members(last).get(doc, NOTHING)

    def _block_of(self, doc: int) -> int | None:
        found: int | None = self._connection.execute(
            "SELECT last FROM block WHERE last >= ? ORDER BY last LIMIT 1", (doc,)
        ).get
        return found

    def _members(self, last: int) -> dict[int, Parts]:
        members = self._kept.pop(last, None)
        if members is None:
            row = self._connection.execute("SELECT codec, body FROM block WHERE last = ?", (last,)).get
            members = self._codec.unpack_block(*row)
        self._kept[last] = members
        while len(self._kept) > _KEPT_BLOCKS:
            del self._kept[next(iter(self._kept))]
        return members

    def drop(self, docs: Sequence[int]) -> None:
        """Delete payloads; 1 ms a block that some are in."""
        self._connection.executemany("DELETE FROM payload WHERE doc = ?", ((doc,) for doc in docs))
        hit: dict[int, set[int]] = {}
        for doc in docs:
            last = self._block_of(doc)
            if last is not None:
                hit.setdefault(last, set()).add(doc)
        for last, gone in hit.items():
            try:
                members = self._members(last)
            except StorageError:
                members = {}  # nobody can read it, so nothing is lost with it
            self._kept.pop(last, None)
            left = {doc: parts for doc, parts in members.items() if doc not in gone}
            if not left:
                self._connection.execute("DELETE FROM block WHERE last = ?", (last,))
            elif len(left) < len(members):
                self._connection.execute(
                    "UPDATE block SET body = ? WHERE last = ?", (self._codec.pack_block(left), last)
                )


def _groups(sizes: Iterable[tuple[int, int]], *, rest: bool) -> Iterator[list[int]]:
    """Divide numbers with the bytes of each into full groups, in their order, and one of the rest if it is wanted."""
    group: list[int] = []
    room = BLOCK_BYTES
    for doc, size in sizes:
        group.append(doc)
        room -= size
        if len(group) >= BLOCK_CALLS or room <= 0:
            yield group
            group, room = [], BLOCK_BYTES
    if group and rest:
        yield group
