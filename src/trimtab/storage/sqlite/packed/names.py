"""Texts of few values, such as models and routes, as numbers: once in a file instead of in each row and index.

A column holds a number of `name`, or the text itself where a file has too many names already: an INTEGER or a TEXT
value tells. A text that has a number is never stored as itself, so that one comparison finds all rows.
"""

# ruff: noqa: S608 - what is pasted into SQL here are our own names of columns; every value is bound

import apsw

from trimtab.storage.sqlite.connection import transaction

MOST_NAMES = 4096
"""Numbers given in a file, ever; from then on new texts stand in the rows. Keeps every file's names in memory."""

LONGEST_NAME = 200
"""Characters; longer texts stand in the rows."""

NAMED = (
    "route",
    "channel",
    "opened_release",
    "arm",
    "model_asked",
    "opened_model",
    "params_hash",
    "key",
    "client",
    "prompt_name",
    "prompt_hash",
    "prompt_label",
    "opened_epoch",
    "closed_model",
    "model_served",
    "provider",
    "fingerprint",
    "finish_reason",
    "price_version",
    "closed_release",
    "closed_epoch",
)
"""Columns of `calls` that hold names."""


class Names:
    """The names of an open file."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._numbers: dict[str, int] = {}
        """Known to the writer, and committed or about to be: see `forget`."""
        self._values: dict[int, str] = {}

    def number(self, text: str) -> int | str:
        """Return what a row holds for a text, which gets a number in the caller's transaction if it has none."""
        number = self._numbers.get(text)
        return number if number is not None else self._give(text)

    def _give(self, text: str) -> int | str:
        found = self.known(text)
        if type(found) is str:
            last = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'name'").get or 0
            if last >= MOST_NAMES or len(text) > LONGEST_NAME:
                return text
            self._connection.execute("INSERT INTO name (value) VALUES (?)", (text,))
            found = self._connection.last_insert_rowid()
        assert isinstance(found, int)
        self._numbers[text] = found
        return found

    def forget(self) -> None:
        """Remember nothing: the transaction in which numbers were given was undone."""
        self._numbers.clear()
        self._values.clear()

    def known(self, text: str) -> int | str:
        """Return what rows hold for a text; the text itself where it has no number."""
        found: int | None = self._connection.execute("SELECT number FROM name WHERE value = ?", (text,)).get
        return text if found is None else found

    def beginning_with(self, prefix: str) -> list[int]:
        """Return the numbers of all texts that begin with a prefix."""
        rows = self._connection.execute("SELECT number, value FROM name")
        return [number for number, value in rows if value.startswith(prefix)]

    def value(self, held: int | str | None) -> str | None:
        """Return the text that a row holds, as itself or as a number."""
        if type(held) is not int:
            return held  # type: ignore[return-value]
        found = self._values.get(held)
        if found is None:
            # Numbers are never given twice, so what was read once stays true.
            self._values.update(self._connection.execute("SELECT number, value FROM name"))
            found = self._values[held]
        return found

    def drop_unused(self) -> None:
        """Delete the texts that no call has any more, in a transaction of its own. Scans; 4 µs a call."""
        with transaction(self._connection):
            used: set[object] = set()
            for row in self._connection.execute(f"SELECT {', '.join(NAMED)} FROM calls"):
                used.update(row)
            numbers = [row[0] for row in self._connection.execute("SELECT number FROM name")]
            self._connection.executemany(
                "DELETE FROM name WHERE number = ?", [(number,) for number in numbers if number not in used]
            )
        self.forget()
