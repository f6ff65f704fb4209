"""What the commands of this room have in common: secrets from outside `argv`, what became of a change, lists."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from trimtab.cli.terminal import (
    Cell,
    Column,
    CommandFailed,
    note,
    one_line,
    show_time,
    write,
    write_json,
    write_table,
)
from trimtab.types import SystemClock

Rows = list[dict[str, Any]]
"""What the admin API lists."""

_LONGEST_SECRET = 8192


def read_secret(what: str, *, twice: bool = False) -> str:
    """Read a secret: asked for on a terminal, without showing it; else the first line of stdin.

    Never from an argument: those stand in the list of processes and in the shell's history.

    Args:
        what: what is asked for, such as `API key`.
        twice: have a person type it a second time.

    Raises:
        CommandFailed: nothing came, or the second time something else.
    """
    if sys.stdin.isatty():
        import getpass

        secret = getpass.getpass(f"{what}: ", stream=sys.stderr)
        if twice and secret != getpass.getpass("once more: ", stream=sys.stderr):
            raise CommandFailed(f"the {what} was typed differently the second time", exit_code=2)
    else:
        secret = sys.stdin.readline(_LONGEST_SECRET).rstrip("\r\n")
    if not secret:
        raise CommandFailed(
            f"no {what} came on stdin", mend="pipe it in, or run this on a terminal", exit_code=2
        )
    return secret


def report(done: dict[str, Any], text: str, *, json: bool) -> int:
    """Say that a change was made, and whether everybody obeys it; return the exit status."""
    if json:
        write_json(done)
        return 0
    write(one_line(text))
    published = done.get("published") or {}
    if published.get("waiting"):
        note(f"Not obeyed yet by {', '.join(published['waiting'])}; they will as soon as they can.", "yellow")
    for remark in published.get("notes") or ():
        note(remark)
    return 0


def listing(
    rows: Rows,
    columns: dict[str, str],
    *,
    json: bool,
    fluid: str,
    empty: str = "",
    lines: Callable[[Rows], Rows] | None = None,
) -> int:
    """Write a list: its rows as JSON, or as a table; return the exit status.

    Args:
        rows: what the admin API answered.
        columns: field → title, in order.
        json: write the rows as they came.
        fluid: the field whose column takes the width that is left.
        empty: what to say instead of a table without rows.
        lines: makes the table's lines of the rows; else they are those.
    """
    if json:
        write_json(rows)
    elif empty and not rows:
        note(empty)
    else:
        _table(lines(rows) if lines else rows, columns, fluid)
    return 0


def with_times(rows: Rows) -> Rows:
    """Return rows with a field `time` for people, made of `at_us`."""
    now_us = SystemClock().now_us()
    return [row | {"time": show_time(int(row["at_us"]), now_us)} for row in rows]


def show(value: object) -> str:
    """Return a value as one safe line; `-` where there is none."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return one_line(", ".join(map(str, value))) or "-"
    return one_line(str(value)) if value not in (None, "") else "-"


def _table(rows: Rows, columns: dict[str, str], fluid: str) -> None:
    cells: list[list[Cell | str]] = [[show(row.get(field)) for field in columns] for row in rows]
    titles = [Column(title=title, fluid=field == fluid) for field, title in columns.items()]
    write_table(titles, cells)
