"""Where recorded calls are read from: the admin API of what runs, or the folder itself where nothing does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from trimtab.cli.options import Place
from trimtab.cli.terminal import CommandFailed
from trimtab.types import Attempt, Call, Closed, FeedbackGiven, Opened, Usage

from .link import admin, quoted

if TYPE_CHECKING:
    from trimtab.serve import Running
    from trimtab.storage import BillQuery, BillRow, CallQuery, Trace, TraceRow

_T = TypeVar("_T", bound=msgspec.Struct)

PAGE = 1000
"""Calls in one answer of the admin API at most."""


class Calls(Protocol):
    """The part of a call store that commands read."""

    def find(self, query: CallQuery, *, payload: bool = False) -> list[Call]:
        """Return matching calls, newest first; request and response are empty unless `payload`."""
        ...

    def get(self, call_id: str) -> Call | None:
        """Return one call with payload and feedback, or None."""
        ...

    def traces(self, *, project: str = "", before: str = "", limit: int = 50) -> list[TraceRow]:
        """Return traces that have spans, newest first."""
        ...

    def trace(self, trace_id: str, *, most_spans: int, most_calls: int) -> Trace | None:
        """Return one trace's spans and calls, or None."""
        ...


class Bills(Calls, Protocol):
    """Calls that can be added up too."""

    def bill(self, query: BillQuery) -> list[BillRow]:
        """Return sums over calls; see `CallStore.bill`."""
        ...


@contextmanager
def open_calls(place: Place) -> Iterator[Bills]:
    """Yield the calls that the options name.

    Raises:
        TrimtabError: the folder cannot be read, or another command has it open.
    """
    from trimtab.cli.config import load
    from trimtab.serve import find_running, open_local

    folder = load(place).data_dir
    found = find_running(folder)
    if found is not None:
        yield AdminCalls(found)
    elif not folder.exists():
        # A question must not leave a folder behind.
        yield NoCalls()
    else:
        with open_local(folder) as local:
            yield local.calls


class NoCalls:
    """The calls of a folder that is not there."""

    def find(self, query: CallQuery, *, payload: bool = False) -> list[Call]:
        """Return nothing."""
        return []

    def get(self, call_id: str) -> Call | None:
        """Return nothing."""
        return None

    def traces(self, *, project: str = "", before: str = "", limit: int = 50) -> list[TraceRow]:
        """Return nothing."""
        return []

    def trace(self, trace_id: str, *, most_spans: int, most_calls: int) -> Trace | None:
        """Return nothing."""
        return None

    def bill(self, query: BillQuery) -> list[BillRow]:
        """Return nothing."""
        return []


class AdminCalls:
    """The calls of a running Trimtab, over its admin API."""

    def __init__(self, target: Running) -> None:
        self._target = target

    def find(self, query: CallQuery, *, payload: bool = False) -> list[Call]:
        """See `Calls.find`. One request for every thousand calls."""
        found: list[Call] = []
        fields = {**msgspec.structs.asdict(query), "payload": "1" if payload else ""}
        while len(found) < query.limit:
            fields["limit"] = min(PAGE, query.limit - len(found))
            reply = admin(self._target, "GET", "calls", query=fields)
            found += [read_call(row) for row in reply["calls"]]
            if not reply["before"]:
                break
            fields["before"] = reply["before"]
        return found

    def bill(self, query: BillQuery) -> list[BillRow]:
        """See `Bills.bill`."""
        from trimtab.storage import BillRow

        fields = {
            **msgspec.structs.asdict(query),
            "by": ",".join(query.by),
            "upstream": "1" if query.upstream else "",
        }
        rows = admin(self._target, "GET", "spend", query=fields, timeout_s=None)["rows"]
        return [_struct(BillRow, row | {"key": tuple(row["key"])}) for row in rows]

    def get(self, call_id: str) -> Call | None:
        """See `Calls.get`."""
        try:
            return read_call(admin(self._target, "GET", f"calls/{quoted(call_id)}"))
        except CommandFailed as failure:
            if failure.exit_code == 1:
                return None
            raise

    def traces(self, *, project: str = "", before: str = "", limit: int = 50) -> list[TraceRow]:
        """See `Calls.traces`."""
        from trimtab.storage import TraceRow

        fields = {"project": project, "before": before, "limit": limit}
        return [
            _struct(TraceRow, row) for row in admin(self._target, "GET", "traces", query=fields)["traces"]
        ]

    def trace(self, trace_id: str, *, most_spans: int, most_calls: int) -> Trace | None:
        """See `Calls.trace`."""
        from .traces import read_trace

        fields = {"spans": most_spans, "calls": most_calls}
        try:
            return read_trace(admin(self._target, "GET", f"traces/{quoted(trace_id)}", query=fields))
        except CommandFailed as failure:
            if failure.exit_code == 1:
                return None
            raise


def read_call(row: dict[str, Any]) -> Call:
    """Return the call that the admin API's JSON means; the inverse of `call_json`.

    Fields that a newer Trimtab added are left out.
    """
    closed = row["closed"]
    return Call(
        opened=_opened(row["opened"]),
        closed=None if closed is None else _closed(closed, row["opened"]["payload"]),
        state=row["state"],
        feedback=tuple(_struct(FeedbackGiven, given) for given in row["feedback"]),
    )


def _kept(words: object, policy: str) -> bytes:
    if words is None:
        return b""
    if isinstance(words, dict) and policy == "hash":
        return bytes.fromhex(str(words.get("sha256", "")))
    if isinstance(words, dict) and set(words) == {"text"}:
        return str(words["text"]).encode()
    return msgspec.json.encode(words)


def _opened(fields: dict[str, Any]) -> Opened:
    policy = fields["payload"]
    words = {name: _kept(fields.get(name), policy) for name in ("request", "variables")}
    return _struct(Opened, fields | words | {"tags": tuple(fields["tags"])})


def _closed(fields: dict[str, Any], policy: str) -> Closed:
    made = {
        "response": _kept(fields.get("response"), policy),
        "usage": _struct(Usage, fields["usage"]),
        "attempts": tuple(_struct(Attempt, attempt) for attempt in fields["attempts"]),
        "findings": tuple(fields["findings"]),
    }
    return _struct(Closed, fields | made)


def _struct(kind: type[_T], fields: dict[str, Any]) -> _T:
    return kind(**{name: fields[name] for name in kind.__struct_fields__ if name in fields})
