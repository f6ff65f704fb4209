"""The word index of a day file: which calls have all words asked for, and whether phrases stand in their texts."""

from collections.abc import Callable, Iterator
from typing import Any

import apsw

from trimtab.storage.text import call_text
from trimtab.storage.words import Asked, Phrase, holds, index_text, rules_out
from trimtab.types import StorageError

from .blocks import Payloads
from .zones import Found, Range, newest_first

EMBEDDINGS = "embeddings"
"""Calls of this kind are found by their requests only; their answers are numbers."""


class WordIndex:
    """The tables `words` and `pending` of an open file."""

    def __init__(self, connection: apsw.Connection, payloads: Payloads) -> None:
        self._connection = connection
        self._payloads = payloads

    def take(self, limit: int) -> int:
        """Index up to `limit` waiting calls, in the caller's transaction; return how many were."""
        waiting: list[Any] = self._connection.execute(
            "SELECT doc, embeddings FROM pending ORDER BY doc LIMIT ?", (limit,)
        ).fetchall()
        if waiting:
            run = self._connection.executemany
            run("INSERT INTO words (rowid, body) VALUES (?, ?)", self._texts(waiting))
            run("DELETE FROM pending WHERE doc = ?", ((doc,) for doc, _ in waiting))
        self._payloads.pack(self._connection.execute("SELECT min(doc) FROM pending").get)
        return len(waiting)

    def _texts(self, waiting: list[tuple[int, int]]) -> Iterator[tuple[int, str]]:
        """Yield the words of waiting calls one by one: a thousand long prompts at once would not fit."""
        for doc, embeddings in waiting:
            try:
                text = index_text(self._pieces(doc, answer=not embeddings))
            except StorageError:
                continue  # `get` says so to whoever asks for this call; the others must not wait for it
            if text:
                yield doc, text

    def _pieces(self, doc: int, *, answer: bool) -> list[str]:
        request, response, _ = self._payloads.get(doc)
        return call_text(request, response if answer else b"")

    def newest_first(
        self, asked: Asked, among: Iterator[Range], having_all: Callable[[Range], list[Found]]
    ) -> Iterator[Found]:
        """Yield calls with the words and phrases asked for, highest place first.

        Args:
            asked: the words.
            among: where to look, in the order in which to look there.
            having_all: returns (place, number, kind) of the calls in a range that have all words, by the index.
        """
        for row in newest_first(having_all, among):
            _, doc, kind = row
            if not asked.phrases or self._holds(doc, asked.phrases, answer=kind != EMBEDDINGS):
                yield row

    def _holds(self, doc: int, phrases: tuple[Phrase, ...], *, answer: bool) -> bool:
        try:
            request, response, _ = self._payloads.get(doc)
        except StorageError:
            return False  # as it would be, had it been damaged before it was indexed
        raws = (request, response if answer else b"")
        return not rules_out(raws, phrases) and holds(call_text(*raws), phrases)
