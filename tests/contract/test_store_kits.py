"""The kits notice a store that breaks a promise: each of these is our own backend with one thing spoilt."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from trimtab.storage import CallQuery, Erasure
from trimtab.storage.files import FileSnapshotStore
from trimtab.storage.sqlite import open_app_store, open_call_store
from trimtab.storage.sqlite.calls import SqliteCallStore
from trimtab.storage.sqlite.connection import connect
from trimtab.storage.sqlite.schema import DAY_FORMATS
from trimtab.testing.stores import (
    check_app_store,
    check_call_store,
    check_snapshot_store,
    check_span_store,
)
from trimtab.types import Call, KeySpec, Snapshot, StorageError


class Spoilt:
    """Passes every call on, but for the methods that it is given instead."""

    def __init__(self, inner: Any, **methods: Callable[..., Any]) -> None:
        self._inner, self._methods = inner, methods

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self._inner, name)
        if name not in self._methods:
            return inner
        return lambda *args, **kwargs: self._methods[name](inner, *args, **kwargs)


def half(inner: Callable[..., int], calls: Sequence[Call]) -> int:
    inner(calls[: len(calls) // 2])
    return len(calls)


def oldest_first(inner: Callable[..., list[Call]], query: CallQuery, **options: Any) -> list[Call]:
    return inner(query, **options)[::-1]


def without(field: str) -> Callable[..., list[Call]]:
    def find(inner: Callable[..., list[Call]], query: CallQuery, **options: Any) -> list[Call]:
        empty = "" if isinstance(getattr(query, field), str) else 0
        return inner(msgspec.structs.replace(query, **{field: empty}), **options)

    return find


def one_hash_twice(inner: Callable[..., None], key: KeySpec) -> None:
    if key.id != "key_3":
        inner(key)


def quietly(inner: Callable[..., None], snapshot: Snapshot) -> None:
    with contextlib.suppress(StorageError):
        inner(snapshot)


def exact_name(inner: Callable[..., Any], name: str) -> Any:
    user = inner(name)
    return user if user and user.name == name else None


def always_admin(inner: Callable[..., Any], *args: Any) -> Any:
    found = inner(*args)
    return found and msgspec.structs.replace(found, role="admin")


def noun_as_prefix(inner: Callable[..., Any], *, action: str = "", **query: Any) -> Any:
    return inner(action="" if action == "key." else action, **query)


def erase_by_any(inner: Callable[..., list[str]], what: Erasure) -> list[str]:
    return inner(msgspec.structs.replace(what, project=""))


def erase_by_hand(inner: Callable[..., list[str]], what: Erasure) -> list[str]:
    """Erase the calls in the files, and nothing besides."""
    ids = inner(what)
    store = inner.__self__
    assert isinstance(store, SqliteCallStore)
    for path in store._folder.glob("calls-*.db"):
        connection = connect(path, formats=DAY_FORMATS)
        connection.execute("UPDATE rollup SET calls = calls + 1 WHERE cube = 2")
        connection.close()
    return ids


CALL_FAULTS: dict[str, dict[str, Callable[..., Any]]] = {
    "loses calls": {"insert": half},
    "counts duplicates as new": {"insert": lambda inner, calls: inner(calls) or len(calls)},
    "forgets payloads": {"get": lambda inner, i: (c := inner(i)) and msgspec.structs.replace(c, closed=None)},
    "lists the oldest first": {"find": oldest_first},
    "ignores since": {"find": without("since_us")},
    "ignores until": {"find": without("until_us")},
    "ignores tags": {"find": without("tag")},
    "ignores text": {"find": without("text")},
    "ignores users": {"find": without("user")},
    "ignores models": {"find": without("model")},
    "always gives the words": {"find": lambda inner, q, **_: inner(q, payload=True)},
    "never indexes": {"index_pending": lambda _inner, _limit=0: 0},
    "never ends indexing": {"index_pending": lambda inner, limit=1000: inner(limit) + 1},
    "loses feedback": {"insert_feedback": lambda _inner, rows: len(rows)},
    "rolls up too little": {"rollup": lambda inner, *a: inner(*a)[1:]},
    "ignores bounds of rollups": {
        "rollup": lambda inner, cube, *_: inner(cube),
        "recount": lambda inner, cube, *_: inner(cube),
    },
    "erases too little": {"erase": lambda inner, what: inner(what)[:-1]},
    "erases without a name": {"erase": lambda inner, what: inner(what) if what.user or what.session else []},
    "erases by a part": {"erase": erase_by_any},
    "forgets to correct rollups": {"erase": erase_by_hand},
    "erases no project": {"erase_project": lambda _inner, name: 40},
    "counts sessions once a call": {"sessions": lambda inner, **q: inner(**q) * 2},
    "ignores the page of sessions": {"sessions": lambda inner, before="", **q: inner(**q) if not before else []},
    "finds responses by their beginning": {"find_response": lambda inner, i: inner((i + "ree")[:18]) if i else None},
    "finds no responses": {"find_response": lambda _inner, _id: None},
    "expires nothing": {"expire": lambda _inner, before: 3 if before else 0},
    "expires too much": {"expire": lambda inner, before: inner(dict.fromkeys(before, "20270101"))},
    "takes no space": {"disk_bytes": lambda inner: dict.fromkeys(inner(), 0)},
    "drops nothing": {"drop_before": lambda _inner, day: [day]},
    "drops too much": {"drop_before": lambda inner, _day: inner("20270101")},
    "goes on when closed": {"close": lambda _inner: None},
}  # fmt: skip

APP_FAULTS: dict[str, dict[str, Callable[..., Any]]] = {
    "has no default project": {"projects": lambda inner: [p for p in inner() if p.name != "default"]},
    "keeps revoked keys": {"revoke_key": lambda _inner, key_id: key_id == "key_1"},
    "loses the history": {"moves": lambda inner, *a: inner(*a)[-1:]},
    "takes a key twice": {"add_key": one_hash_twice},
    "repeats generations": {"next_generation": lambda inner: inner() // 2 + 1},
    "forgets settings": {"put_setting": lambda _inner, *_: None},
    "names releases otherwise": {"put_release": lambda inner, release: inner(release)[::-1]},
    "loses routes": {"routes": lambda _inner: []},
    "knows names by their case": {"user": exact_name},
    "keeps sign-ins for ever": {"login": lambda inner, token, _now: inner(token, 0)},
    "ignores a changed role": {"login": always_admin},
    "keeps sign-ins of others": {"end_logins_of": lambda _inner, _user: 2},
    "lists the oldest entries first": {"audit": lambda inner, **q: inner(**q)[::-1]},
    "takes a noun for a prefix": {"audit": noun_as_prefix},
    "forgets to page the audit log": {"audit": lambda inner, before="", **q: inner(**q)},
    "loses settings' history": {"setting_changes": lambda inner, **q: inner(**q)[:1]},
    "keeps removed providers": {"remove_provider": lambda _inner, name: False},
    "keeps removed projects": {"remove_project": lambda _inner, name: name == "acme"},
    "keeps removed views": {"remove_view": lambda _inner, _id: True},
}  # fmt: skip

SNAPSHOT_FAULTS: dict[str, dict[str, Callable[..., Any]]] = {
    "takes a stale generation for published": {"publish": quietly},
    "sticks to a generation": {"generation": lambda inner: min(inner(), 3)},
    "loads an old one": {"load": lambda inner: msgspec.structs.replace(inner(), generation=3)},
    "forgets reports": {"report": lambda _inner, *_: None},
    "remembers workers that are gone": {"forget": lambda _inner, _worker: None},
}  # fmt: skip


def with_words(inner: Callable[..., Any], trace_id: str, **options: Any) -> Any:
    """Return a trace with the words of its calls."""
    found = inner(trace_id, **options)
    whole = found and tuple(inner.__self__.get(call.id) for call in found.calls)
    return found and msgspec.structs.replace(found, calls=whole)


def erase_calls_alone(inner: Callable[..., Any], *args: Any) -> Any:
    """Erase or expire as a store does that knows of no spans."""
    return getattr(SqliteCallStore, inner.__name__)(inner.__self__, *args)


SPAN_FAULTS: dict[str, dict[str, Callable[..., Any]]] = {
    "loses spans": {"insert_spans": lambda inner, spans: inner(spans[1:]) + bool(spans)},
    "counts duplicates as new": {"insert_spans": lambda inner, spans: inner(spans) or len(spans)},
    "takes any id": {"insert_spans": lambda inner, spans: inner([s for s in spans if len(s.trace_id) == 32])},
    "forgets what is left out": {"trace": lambda inner, i, **_: inner(i)},
    "gives the words": {"trace": with_words},
    "lists the oldest first": {"traces": lambda inner, **q: inner(**q)[::-1]},
    "ignores the page": {"traces": lambda inner, before="", **q: inner(**q) if not before else []},
    "ignores projects": {"traces": lambda inner, project="", **q: inner(**q)},
    "lists a trace twice": {"traces": lambda inner, **q: [row for row in inner(**q) for _ in range(2)]},
    "ignores bounds": {"spans": lambda inner, project="", **_: inner(project=project)},
    "erases no spans": {"erase": erase_calls_alone},
    "erases no project's spans": {"erase_project": erase_calls_alone},
    "expires no spans": {"expire": erase_calls_alone},
    "erases no traces": {"erase_traces": lambda _inner, traces: len(traces)},
    "takes late spans": {"erase_traces": lambda inner, traces: inner(dict.fromkeys(traces, 0))},
    "knows no traces": {"traces_of": lambda _inner, _what: set()},
    "drops nothing": {"drop_before": lambda _inner, day: [day]},
    "goes on when closed": {"close": lambda _inner: None},
}


@pytest.mark.parametrize("fault", list(SPAN_FAULTS))
def test_a_spoilt_span_store_is_noticed(tmp_path: Path, fault: str) -> None:
    with pytest.raises(AssertionError, match=r"must"):
        check_span_store(lambda: Spoilt(open_call_store(tmp_path), **SPAN_FAULTS[fault]))


@pytest.mark.parametrize("fault", list(CALL_FAULTS))
def test_a_spoilt_call_store_is_noticed(tmp_path: Path, fault: str) -> None:
    with pytest.raises(AssertionError, match=r"must"):
        check_call_store(lambda: Spoilt(open_call_store(tmp_path), **CALL_FAULTS[fault]))


@pytest.mark.parametrize("fault", list(APP_FAULTS))
def test_a_spoilt_app_store_is_noticed(tmp_path: Path, fault: str) -> None:
    with pytest.raises(AssertionError, match=r"must"):
        check_app_store(lambda: Spoilt(open_app_store(tmp_path / "app.db"), **APP_FAULTS[fault]))


@pytest.mark.parametrize("fault", list(SNAPSHOT_FAULTS))
def test_a_spoilt_snapshot_store_is_noticed(tmp_path: Path, fault: str) -> None:
    with pytest.raises(AssertionError, match=r"must"):
        check_snapshot_store(lambda: Spoilt(FileSnapshotStore(tmp_path), **SNAPSHOT_FAULTS[fault]))
