"""What every command prints with: safe text, tables, JSON, times, notes.

Owns how results look on a terminal, in a pipe and as JSON.
Promises: no control character of foreign text is written raw; results go to stdout and notes to stderr;
colours only on a terminal, and never with `NO_COLOR`.
Never fetches anything.
Entry: `write_table`, `write_json`, `note`.
"""

from .failure import CommandFailed
from .output import (
    Cell,
    Column,
    is_terminal,
    note,
    paint,
    progress_note,
    stdout_is_terminal,
    terminal_width,
    write,
    write_json,
    write_table,
)
from .text import fit, json_text, one_line, printable
from .times import parse_when, show_duration, show_iso, show_time

__all__ = [
    "Cell",
    "Column",
    "CommandFailed",
    "fit",
    "is_terminal",
    "json_text",
    "note",
    "one_line",
    "paint",
    "parse_when",
    "printable",
    "progress_note",
    "show_duration",
    "show_iso",
    "show_time",
    "stdout_is_terminal",
    "terminal_width",
    "write",
    "write_json",
    "write_table",
]
