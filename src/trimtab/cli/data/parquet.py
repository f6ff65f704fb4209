"""Calls as a Parquet table: one row a call, one column a field, for analysis. pyarrow is loaded only here."""

from collections.abc import Iterator
from typing import IO, Any

import msgspec

from trimtab.cli.terminal import CommandFailed
from trimtab.types import Call, Closed, Opened, Usage

_ROWS = 5000
_BYTES = 64_000_000
"""Of words in one row group: what is held in memory."""

_WORDS = ("request", "variables", "response")
_OF_BOTH = {"model": "model_answered", "release": "release_answered", "epoch": "epoch_answered"}
"""Fields that opening and end both have: under these names, what the end says."""


def write_parquet(calls: Iterator[Call], file: IO[bytes]) -> None:
    """Write a table of calls, some thousand rows at a time.

    Raises:
        CommandFailed: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise CommandFailed(
            "a Parquet file needs pyarrow, which is not installed",
            mend="pip install 'trimtab[parquet]', or --format jsonl",
            exit_code=2,
        ) from error
    schema = pa.schema([(name, _arrow_type(pa, kind)) for name, kind in _columns().items()])
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        rows: list[dict[str, Any]] = []
        size = 0
        for call in calls:
            rows.append(_row(call))
            size += sum(len(rows[-1][name] or b"") for name in _WORDS)
            if len(rows) >= _ROWS or size >= _BYTES:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                rows, size = [], 0
        writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def _columns() -> dict[str, str]:
    """Return the columns in their order, each with the kind of value it holds."""
    columns = {"id": "text", "state": "text", "latency_ms": "float"}
    for kind in (Opened, Closed, Usage):
        for field in msgspec.structs.fields(kind):
            name = _OF_BOTH.get(field.name, field.name) if kind is Closed else field.name
            if name not in ("usage", "id", "state"):
                columns[name] = _KINDS.get(field.type, "text")
    columns["tags"] = "texts"
    return columns | {"attempts": "text", "findings": "text", "feedback": "text"}


_KINDS = {int: "number", bool: "flag", bytes: "bytes"}


def _arrow_type(pa: Any, kind: str) -> Any:  # noqa: ANN401 - pyarrow, which may be absent
    kinds = {"text": pa.string, "number": pa.int64, "flag": pa.bool_, "bytes": pa.binary, "float": pa.float64}
    return pa.list_(pa.string()) if kind == "texts" else kinds[kind]()


def _row(call: Call) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(_columns())
    row |= msgspec.structs.asdict(call.opened)
    if call.closed is not None:
        ended = msgspec.structs.asdict(call.closed)
        usage = ended.pop("usage")
        row |= {_OF_BOTH.get(name, name): value for name, value in ended.items()} | msgspec.structs.asdict(
            usage
        )
        row["attempts"] = _json([msgspec.structs.asdict(attempt) for attempt in call.closed.attempts])
        row["findings"] = _json(call.closed.findings)
    row["tags"] = list(call.opened.tags)
    row["feedback"] = _json([msgspec.structs.asdict(given) for given in call.feedback])
    return row | {"id": call.id, "state": call.state, "latency_ms": call.latency_ms}


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
