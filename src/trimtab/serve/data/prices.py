"""The installation's own price table, brought up to date from a file, and which table was in force when.

`catalog/table.json` lies over the packaged table and below the configuration's `[catalog] file`;
`catalog/history.jsonl` has a line for every table that came into force.
"""

import hashlib
from pathlib import Path
from typing import Any, Final

import msgspec

from trimtab.catalog import Catalog, packaged_sha256, stack
from trimtab.storage import write_atomically
from trimtab.types import ConfigError, StorageError

_FOLDER: Final = "catalog"
_LONGEST_BYTES: Final = 16 * 1024 * 1024


class TableInForce(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the history."""

    at_us: int
    version: str
    """The `price_version` of calls from then on."""
    packaged_sha256: str
    """Of the table that came with Trimtab."""
    table_sha256: str = ""
    """Of `catalog/table.json`; empty: there was none."""
    overrides_sha256: str = ""
    """Of the configuration's file, as it was read; empty: there was none."""


def table_path(data_dir: Path) -> Path:
    """Return where the installation's table lies."""
    return data_dir / _FOLDER / "table.json"


def read_table(data_dir: Path) -> bytes:
    """Return the installation's table; empty where there is none.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return table_path(data_dir).read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise ConfigError(f"{table_path(data_dir)} cannot be read: {error.strerror}") from error


def layered(data_dir: Path, overrides: dict[str, Any]) -> dict[str, Any]:
    """Return what lies over the packaged table: the installation's own, and the configuration's over it.

    Raises:
        ConfigError: one of them is not in the format.
    """
    table = read_table(data_dir)
    return stack(table, overrides) if table else overrides


def install_table(data_dir: Path, raw: bytes) -> str:
    """Check a table and make it the installation's; return its SHA-256.

    Raises:
        ConfigError: it is not in the format, or too large.
        StorageError: the folder cannot be written.
    """
    if len(raw) > _LONGEST_BYTES:
        raise ConfigError(f"the table has {len(raw):,} bytes; {_LONGEST_BYTES:,} are allowed")
    Catalog.load(raw)
    path = table_path(data_dir)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, raw)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}") from error
    return hashlib.sha256(raw).hexdigest()


def history(data_dir: Path) -> list[TableInForce]:
    """Return which tables were in force, oldest first; a damaged line is left out."""
    try:
        lines = (data_dir / _FOLDER / "history.jsonl").read_bytes().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            found.append(msgspec.json.decode(line, type=TableInForce))
        except msgspec.DecodeError:
            continue
    return found


def note_in_force(data_dir: Path, overrides: dict[str, Any], catalog: dict[str, Any], now_us: int) -> None:
    """Append to the history, unless the table in force is the last one there.

    Args:
        data_dir: the data folder.
        overrides: what the configuration's file says.
        catalog: what the snapshot says: that and the installation's table.
        now_us: the time.

    Raises:
        StorageError: it cannot be written.
    """
    table = read_table(data_dir)
    entry = TableInForce(
        at_us=now_us,
        version=Catalog.load(catalog or None).version,
        packaged_sha256=packaged_sha256(),
        table_sha256=hashlib.sha256(table).hexdigest() if table else "",
        overrides_sha256=hashlib.sha256(msgspec.json.encode(overrides, order="deterministic")).hexdigest()
        if overrides
        else "",
    )
    before = history(data_dir)
    if before and msgspec.structs.replace(before[-1], at_us=now_us) == entry:
        return
    folder = data_dir / _FOLDER
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (folder / "history.jsonl").open("ab") as out:
            out.write(msgspec.json.encode(entry) + b"\n")
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error.strerror}") from error
