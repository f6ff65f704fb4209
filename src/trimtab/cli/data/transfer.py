"""`trimtab export` and `trimtab import`: recorded calls and spans as lines of JSON or as a Parquet file, and back."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Annotated, Literal, TypeVar

import msgspec
from cyclopts import Parameter

from trimtab.cli.calls import Which, call_query
from trimtab.cli.config import load
from trimtab.cli.options import AsJson, Place
from trimtab.cli.terminal import CommandFailed, is_terminal, note, write, write_json
from trimtab.storage import CallQuery, TraceStore, call_line, read_line, span_line
from trimtab.types import Call, SpanEnded, SystemClock, TrimtabError, parse_trace_parent

_PAGE = 50
"""Calls held in memory at once; each may be as large as the limits of a request and a reply together."""

_BATCH_BYTES = 8_000_000
_BATCH_CALLS = 500
_LONGEST_LINE = 1_000_000_000
_SAY_EVERY_S = 1.0
_MOST_SPANS = 1_000_000
"""Of one trace."""


def export(
    *words: str,
    which: Which | None = None,
    out: Annotated[Path | None, Parameter(name=("--out", "-o"))] = None,
    format: Annotated[Literal["jsonl", "parquet"], Parameter(show_default=True)] = "jsonl",
    place: Place | None = None,
) -> int:
    """Write recorded calls with their words, newest first; `trimtab import` reads the lines back, byte for byte.

    Lines of spans follow: those of the calls' traces, and with --project, --since and --until alone, all of that
    time. Works while Trimtab runs. Progress goes to stderr.

    Args:
        words: Words that must all occur in request or answer.
        which: Which calls; all without a filter.
        out: A new file; else stdout.
        format: `jsonl`, one call a line; `parquet`, a table for analysis, needs `pip install 'trimtab[parquet]'`
            and --out.
        place: Which installation.
    """
    query = call_query(words, which or Which(), SystemClock().now_us())
    if format == "parquet" and out is None:
        raise CommandFailed("a Parquet file cannot go to stdout", mend="name a file with --out", exit_code=2)
    if out is None and is_terminal(sys.stdout):
        note("Writing to the terminal; --out FILE writes a file.", "dim")
    with ExitStack() as stack:
        store = stack.enter_context(_stored(place or Place()))
        calls = _matching(store, query)
        counter = _Counter("exported")
        if format == "parquet":
            from .parquet import write_parquet

            file = stack.enter_context(_new_file(out or Path()))
            write_parquet(counter.counted(calls), file)
        else:
            file = sys.stdout.buffer if out is None else stack.enter_context(_new_file(out))
            traces: set[bytes] = set()
            for call in counter.counted(calls):
                file.write(call_line(call))
                if parsed := parse_trace_parent(call.opened.trace_parent):
                    traces.add(bytes.fromhex(parsed[0]))
            for span in _spans(store, query, traces):
                file.write(span_line(span))
            file.flush()
    counter.say_last()
    return 0


def import_calls(
    file: Annotated[Path, Parameter(allow_leading_hyphen=True)],
    /,
    place: Place | None = None,
    *,
    json: AsJson = False,
) -> int:
    """Read calls and spans that `trimtab export` wrote. What is stored already stays as it is.

    Where Trimtab runs, they go through its log, and show within seconds.

    Args:
        file: A file of lines, or `-` for stdin.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    from trimtab.serve import find_running, open_local

    data_dir = load(place or Place()).data_dir
    counter = _Counter("imported")
    new: int | None = None
    with ExitStack() as stack:
        lines = sys.stdin.buffer if str(file) == "-" else stack.enter_context(_open(file))
        records = counter.counted(_read(lines, str(file)))
        if find_running(data_dir) is None:
            new = _insert(records, stack.enter_context(open_local(data_dir)).calls)
        else:
            _append(records, data_dir)
    if json:
        write_json({"read": counter.number, "new": new})
    elif new is None:
        write(f"{counter.number} calls read; those that are new show within seconds.")
    else:
        write(f"{counter.number} calls read, {new} of them new.")
    return 0


_T = TypeVar("_T", bound=Call | SpanEnded)


class _Counter:
    """Counts calls as they pass, and says so on a terminal once a second."""

    def __init__(self, what: str) -> None:
        self.number = 0
        self._what = what
        self._said_at = time.monotonic()

    def counted(self, records: Iterator[_T]) -> Iterator[_T]:
        """Yield records; spans are not counted."""
        for record in records:
            yield record
            self.number += isinstance(record, Call)
            if self.number % 100 == 0 and time.monotonic() - self._said_at >= _SAY_EVERY_S:
                self._said_at = time.monotonic()
                note(f"{self.number} calls {self._what} ...", "dim")

    def say_last(self) -> None:
        note(f"{self.number} calls {self._what}.", "dim")


@contextmanager
def _stored(place: Place) -> Iterator[TraceStore | None]:
    from trimtab.serve import open_reader

    data_dir = load(place).data_dir
    if not data_dir.exists():  # a question must not leave a folder behind
        yield None
    else:
        with open_reader(data_dir) as store:
            yield store


def _matching(store: TraceStore | None, query: CallQuery) -> Iterator[Call]:
    """Yield matching calls page by page."""
    query = msgspec.structs.replace(query, limit=_PAGE)
    while store is not None:
        page = store.find(query, payload=True)
        yield from page
        if len(page) < _PAGE:
            return
        query = msgspec.structs.replace(query, before=page[-1].id)


def _spans(store: TraceStore | None, query: CallQuery, traces: set[bytes]) -> Iterator[SpanEnded]:
    """Yield the spans of a query's project and time where it asks for no more than that, else those of traces."""
    wide = CallQuery(
        project=query.project, since_us=query.since_us, until_us=query.until_us, limit=query.limit
    )
    if store is None:
        return
    if query == wide:
        yield from store.spans(project=query.project, since_us=query.since_us, until_us=query.until_us)
        return
    for trace in sorted(traces):
        found = store.trace(trace.hex(), most_spans=_MOST_SPANS, most_calls=0)
        yield from found.spans if found is not None else ()


@contextmanager
def _new_file(path: Path) -> Iterator[IO[bytes]]:
    """Yield a new file that only its owner may read; it is removed again where the block fails."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CommandFailed(
            f"{str(path)!r} cannot be made: {error.strerror}", mend="name a new file"
        ) from error
    try:
        with os.fdopen(fd, "wb") as file:
            yield file
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _open(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise CommandFailed(f"{str(path)!r} cannot be read: {error.strerror}", exit_code=2) from error


def _read(lines: IO[bytes], name: str) -> Iterator[Call | SpanEnded]:
    number = 0
    while line := lines.readline(_LONGEST_LINE):
        number += 1
        if not line.strip():
            continue
        try:
            yield read_line(line)
        except ValueError as error:
            raise CommandFailed(f"{name}, line {number}: {error}", mend=_SO_FAR, exit_code=2) from error
        except TrimtabError as error:
            raise CommandFailed(f"{name}, line {number}: {error.message}", mend=_SO_FAR) from error


_SO_FAR = "what stands before it is imported; mend the line, and import the file again: nothing is doubled"


def _insert(records: Iterator[Call | SpanEnded], store: TraceStore) -> int:
    """Store calls and spans in batches, and index their words; return how many calls were new."""
    new = 0
    for batch in _batches(records):
        calls = [record for record in batch if isinstance(record, Call)]
        new += store.insert(calls)
        store.insert_feedback([given for call in calls for given in call.feedback])
        store.insert_spans([record for record in batch if isinstance(record, SpanEnded)])
        while store.index_pending():
            pass
    store.flush()
    return new


def _batches(records: Iterator[Call | SpanEnded]) -> Iterator[list[Call | SpanEnded]]:
    batch: list[Call | SpanEnded] = []
    size = 0
    try:
        for record in records:
            batch.append(record)
            size += _size(record)
            if len(batch) >= _BATCH_CALLS or size >= _BATCH_BYTES:
                yield batch
                batch, size = [], 0
    except CommandFailed:  # a bad line ends the import; what stands before it is stored
        yield batch
        raise
    yield batch


def _size(record: Call | SpanEnded) -> int:
    if isinstance(record, SpanEnded):
        return len(record.attributes)
    return len(record.opened.request) + (len(record.closed.response) if record.closed else 0)


def _append(records: Iterator[Call | SpanEnded], data_dir: Path) -> None:
    """Write records into the log of a Trimtab that runs, as any process does that makes calls."""
    from trimtab.ledger import LogWriter
    from trimtab.serve import Layout

    writer = LogWriter(Layout(data_dir.absolute()).log, "import")
    try:
        for record in records:
            if isinstance(record, SpanEnded):
                writer.append(record)
                continue
            writer.append(record.opened)
            if record.closed is not None:
                writer.append(record.closed)
            for given in record.feedback:
                writer.append(given)
    finally:
        writer.close()
