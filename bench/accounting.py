"""Whether what was answered is in Trimtab's store: rows, and rows that the word index does not have yet."""

import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Rows:
    """Calls in the store's day files."""

    stored: int
    unindexed: int


def count_rows(data: Path) -> Rows:
    """Count, reading only. Cost: one scan of an index per day file."""
    import apsw

    stored = unindexed = 0
    for file in sorted(data.rglob("calls-*.db")):
        connection = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
        connection.setbusytimeout(5000)
        try:
            stored += connection.execute("SELECT count(*) FROM calls").fetchone()[0]
            unindexed += connection.execute("SELECT count(*) FROM pending").fetchone()[0]
        except apsw.SQLError:  # a file made a moment ago, its tables not yet
            continue
        finally:
            connection.close()
    return Rows(stored, unindexed)


def await_rows(data: Path, expected: int, timeout_s: float) -> Rows:
    """Wait until `expected` rows are stored and all are searchable, or time is up; return what there is."""
    deadline = time.monotonic() + timeout_s
    while True:
        rows = count_rows(data)
        if (rows.stored >= expected and rows.unindexed == 0) or time.monotonic() > deadline:
            return rows
        time.sleep(0.25)
