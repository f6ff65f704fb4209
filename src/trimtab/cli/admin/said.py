"""What the commands of this room have in common: secrets from outside `argv`, and what became of a change."""

from __future__ import annotations

import sys
from typing import Any

from trimtab.cli.terminal import Cell, Column, CommandFailed, note, one_line, write, write_json, write_table

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


def table(rows: list[dict[str, Any]], columns: dict[str, str], *, fluid: str = "") -> None:
    """Write JSON rows as a table.

    Args:
        rows: the rows.
        columns: field → title, in order.
        fluid: the field whose column takes the width that is left.
    """
    cells: list[list[Cell | str]] = [[show(row.get(field)) for field in columns] for row in rows]
    titles = [Column(title=title, fluid=field == fluid) for field, title in columns.items()]
    write_table(titles, cells)


def show(value: object) -> str:
    """Return a value as one safe line; `-` where there is none."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return one_line(", ".join(map(str, value))) or "-"
    return one_line(str(value)) if value not in (None, "") else "-"
