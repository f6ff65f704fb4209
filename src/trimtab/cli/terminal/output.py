"""Results on stdout, notes on stderr: rich tables on a terminal, aligned text in a pipe, JSON on request."""

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Literal, NamedTuple

from .text import json_text, printable

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

_GAP = "  "
_ANSI = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "magenta": "35", "cyan": "36"}


class Cell(NamedTuple):
    """One cell's text and the style it has on a terminal."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table."""

    title: str
    align: Literal["left", "right"] = "left"
    fluid: bool = False
    """It takes the width that is left, and is cut where there is too little."""
    wraps: bool = False
    """Long cells take several lines on a terminal, and nothing is cut."""
    from_width: int = 0
    """Shown only on terminals at least this wide; a pipe always gets it."""


def is_terminal(stream: IO[str]) -> bool:
    """Say whether a stream is a terminal that people look at."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def stdout_is_terminal() -> bool:
    """Say whether results go to a terminal that people look at."""
    return is_terminal(sys.stdout)


def terminal_width() -> int:
    """Return how many columns the terminal has that results go to; 0 where they go elsewhere."""
    return shutil.get_terminal_size().columns if stdout_is_terminal() else 0


def has_colour(stream: IO[str]) -> bool:
    """Say whether colours may be written: a terminal, and no `NO_COLOR` (no-color.org)."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def paint(text: str, style: str, stream: IO[str] | None = None) -> str:
    """Return text in a style such as `bold red` where the stream (stdout) shows colours, else unchanged."""
    if not style or not has_colour(stream or sys.stdout):
        return text
    codes = ";".join(_ANSI[part] for part in style.split())
    return f"\x1b[{codes}m{text}\x1b[0m"


def write(text: str = "", end: str = "\n") -> None:
    """Write a result to stdout, at once. The text must be safe already where it is foreign."""
    sys.stdout.write(text + end)
    sys.stdout.flush()


def note(text: str, style: str = "") -> None:
    """Write a remark to stderr; made safe here."""
    sys.stdout.flush()
    sys.stderr.write(paint(printable(text), style, sys.stderr) + "\n")
    sys.stderr.flush()


def write_json(value: object) -> None:
    """Write one JSON document: indented on a terminal, on one line in a pipe."""
    write(json_text(value, indent=2 if is_terminal(sys.stdout) else None))


def write_table(columns: Sequence[Column], rows: Sequence[Sequence[Cell | str]]) -> None:
    """Write rows of cells; their texts must be single safe lines (`one_line`)."""
    cells = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
    if is_terminal(sys.stdout):
        _write_rich(columns, cells)
    else:
        _write_plain(columns, cells)


def _write_rich(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> None:
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    texts = [[row[i].text for row in rows] for i in range(len(columns))]
    console = Console(file=sys.stdout, no_color=bool(os.environ.get("NO_COLOR")), highlight=False)
    shown = [i for i, column in enumerate(columns) if console.width >= column.from_width]
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, len(_GAP), 0, 0))
    for i in shown:
        column = columns[i]
        table.add_column(
            column.title,
            justify=column.align,
            no_wrap=not column.wraps,
            overflow="fold" if column.wraps else "ellipsis",
            ratio=1 if column.fluid else None,
            # Only a column that may shrink does: rich would take width from all of them.
            min_width=None if column.fluid or column.wraps else max(map(cell_len, (column.title, *texts[i]))),
        )
    table.expand = any(columns[i].fluid for i in shown)
    for row in rows:
        table.add_row(*(Text(row[i].text, style=row[i].style) for i in shown))
    console.print(table)


def _write_plain(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> None:
    from rich.cells import cell_len

    lines = [[column.title for column in columns], *([cell.text for cell in row] for row in rows)]
    widths = [max(cell_len(line[i]) for line in lines) for i in range(len(columns))]
    for line in lines:
        parts = []
        for column, text, width in zip(columns, line, widths, strict=True):
            fill = " " * (width - cell_len(text))
            parts.append(fill + text if column.align == "right" else text + fill)
        sys.stdout.write(_GAP.join(parts).rstrip() + "\n")
    sys.stdout.flush()


@contextmanager
def progress_note(what: str, unit: str = "bytes") -> Iterator["Progress"]:
    """Show on stderr how far a long piece of work is: a bar on a terminal, else its start and its end."""
    from rich.progress import TaskID

    if not is_terminal(sys.stderr):
        note(f"{what} ...")
        yield Progress(None, TaskID(0))
        note(f"{what}: done")
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True, no_color=bool(os.environ.get("NO_COLOR")))
    bars = Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn() if unit == "bytes" else MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    with bars:
        yield Progress(bars, bars.add_task(what, total=None))


class Progress:
    """One running progress bar, or nothing where there is no terminal."""

    __slots__ = ("_bars", "_task")

    def __init__(self, bars: "Bars | None", task: "TaskID") -> None:
        self._bars = bars
        self._task = task

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` bytes, or what else is counted, are there; a total of 0 is unknown."""
        if self._bars is not None:
            self._bars.update(self._task, completed=done, total=total or None)
