"""From a `CallQuery` to the SQL for one day file. Every value is bound, and the index to use is named."""

# ruff: noqa: S608 - what is pasted into SQL here are our own names of columns; every value is bound

from typing import Any, NamedTuple

from trimtab.storage.days import MS_PER_DAY, id_blob, id_ms, place_floor, place_of
from trimtab.storage.ports import CallQuery
from trimtab.storage.words import match_expression
from trimtab.types import StorageError

from .schema import INDEXED, index_name

_FILTERS = (
    "project",
    "purpose",
    "provider",
    "route",
    "release",
    "state",
    "error_code",
    "key",
    "user",
    "session",
)


class Statement(NamedTuple):
    """SQL that lists a file's matching calls by place, highest first."""

    sql: str
    values: tuple[Any, ...]


class Search:
    """A query made ready: its words split and its bounds computed once, for all files."""

    def __init__(self, query: CallQuery) -> None:
        """Raises StorageError for a `before` that is no id, CallerError for too many words."""
        self._query = query
        self.match = match_expression(query.text)
        try:
            self.before = id_blob(query.before) if query.before else None
        except ValueError as error:
            raise StorageError(str(error)) from error
        self.hopeless = query.limit <= 0 or (bool(query.text.strip()) and self.match is None)
        """Nothing can match: a limit of none, or a search text without a word in it."""

    def days(self) -> tuple[int, int]:
        """Return the first and the last day that can hold a match, counted from 1970."""
        query = self._query
        last = (query.until_us - 1) // 1000 // MS_PER_DAY if query.until_us else 1 << 40
        if self.before is not None:
            last = min(last, id_ms(self.before) // MS_PER_DAY)
        return query.since_us // 1000 // MS_PER_DAY, last

    def statement(self, day: int, displacement: int, columns: str) -> Statement:
        """Return the SQL for `columns` of a file of that day, whose calls stand at most `displacement` too high."""
        where, values = self._bounds(day, displacement)
        equal = {name: getattr(self._query, name) for name in _FILTERS if getattr(self._query, name)}
        model = self._query.model
        if model.endswith("/"):
            where.append("c.model >= ? AND c.model < ?")
            values += [model, model[:-1] + "0"]  # '0' follows '/' in ASCII
        elif model:
            equal["model"] = model
        for column, value in equal.items():
            where.append(f"c.{column} = ?")
            values.append(value)
        source, by = self._source(equal, where, values)
        conditions = " AND ".join(where) or "1"
        return Statement(
            f"SELECT {columns} FROM {source} WHERE {conditions} ORDER BY {by} DESC", tuple(values)
        )

    def _source(self, equal: dict[str, Any], where: list[str], values: list[Any]) -> tuple[str, str]:
        """Choose what drives the search: words, a tag, an index, or the calls in their order."""
        tag = self._query.tag
        if self.match is not None:
            where.append("words MATCH ?")
            values.append(self.match)
            if tag:
                where.append("EXISTS (SELECT 1 FROM tag AS t WHERE t.name = ? AND t.place = c.place)")
                values.append(tag)
            return "words CROSS JOIN calls AS c ON c.place = words.rowid", "words.rowid"
        if tag:
            where.append("t.name = ?")
            values.append(tag)
            return "tag AS t CROSS JOIN calls AS c ON c.place = t.place", "t.place"
        for column, condition in INDEXED.items():
            value = equal.get(column)
            if value is not None and condition != f"{column} <> '{value}'":
                where.append(f"c.{condition}")  # proves to SQLite that the partial index has every match
                return f"calls AS c INDEXED BY {index_name(column)}", "c.place"
        return "calls AS c NOT INDEXED", "c.place"

    def _bounds(self, day: int, displacement: int) -> tuple[list[str], list[Any]]:
        """Return the bounds in time, by place, which the search walks along, and exactly, by id."""
        where: list[str] = []
        values: list[Any] = []
        place = "words.rowid" if self.match is not None else "t.place" if self._query.tag else "c.place"
        if self.before is not None:
            where.append("c.id < ?")
            values.append(self.before)
            if id_ms(self.before) // MS_PER_DAY == day:
                where.append(f"{place} <= ?")
                values.append(place_of(self.before) + displacement)
        since_ms, since_rest = divmod(self._query.since_us, 1000)
        if since_ms // MS_PER_DAY == day:
            where.append(f"{place} >= ?")
            values.append(place_floor(since_ms))
        if self._query.since_us:
            where.append("(c.id >= ? OR (c.id >= ? AND c.opened_us >= ?))")
            values += [_floor(since_ms + bool(since_rest)), _floor(since_ms), self._query.since_us]
        until_ms, until_rest = divmod(self._query.until_us, 1000)
        if self._query.until_us:
            if until_ms // MS_PER_DAY == day:
                where.append(f"{place} < ?")
                values.append(
                    place_floor(until_ms + 1) + displacement if (until_ms + 1) % MS_PER_DAY else 1 << 62
                )
            where.append("(c.id < ? OR (c.id < ? AND c.opened_us < ?))")
            values += [_floor(until_ms), _floor(until_ms + bool(until_rest)), self._query.until_us]
        return where, values


def _floor(ms: int) -> bytes:
    """Return the least 16 bytes of a millisecond."""
    return max(0, min(ms, (1 << 48) - 1)).to_bytes(6, "big") + bytes(10)
