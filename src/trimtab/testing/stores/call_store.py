"""The kit for `CallStore`."""

from collections import Counter
from collections.abc import Callable
from typing import Any, get_args

import msgspec

from trimtab.storage import CallQuery, CallStore, Cube, RollupRow
from trimtab.testing.calls import NOON_MS, sample_call, unfinished
from trimtab.types import Call, FeedbackGiven, id_time_us, new_id

from .bill import check_bill
from .erasing import check_disk_bytes, check_erasing, check_expiring, check_responses, check_sessions
from .refusal import refuses


def check_call_store(make: Callable[[], CallStore]) -> None:
    """Check the promises of `CallStore`.

    Args:
        make: opens the store at one and the same place, for writing; the first time it must be empty.

    Raises:
        AssertionError: with the promise that was broken.
    """
    store = make()
    assert store.count() == 0, "the first store that `make` opens must be empty"
    calls = [sample_call(ms=NOON_MS + 3_600_000 * i) for i in range(-30, 30)]
    _check_inserts(store, calls)
    _check_paging(store, calls)
    _check_late_ends(store)
    _check_words(store)
    _check_feedback(store, calls[7])
    _check_rollups(store)
    check_bill(store)
    check_responses(store)
    check_sessions(store)
    check_erasing(store)
    check_expiring(store)
    check_disk_bytes(store, {"20260921", "20260922", "20260923"})
    _check_rollups(store)
    stored = store.count()
    store.flush()
    store.close()
    refuses(store.count, "a closed store must raise StorageError")
    store = make()
    assert store.count() == stored, "what was flushed must be there when the store is opened again"
    assert store.insert(calls) == 0, "calls that are stored already must not count as new after opening again"
    _check_rollups(store)
    assert store.drop_before("20260922"), "drop_before must name what it removed"
    check_disk_bytes(store, {"20260922", "20260923"})
    assert "20260921" not in store.disk_bytes(), "a dropped day must take no space"
    times = [id_time_us(call.id) for call in store.find(CallQuery(limit=10_000))]
    midnight_us = 1_790_035_200_000_000
    assert 0 < len(times) < stored, "drop_before must keep the day it names, and those after"
    assert min(times) >= midnight_us, "drop_before must remove every day before"
    _check_rollups(store)
    store.close()


def _check_inserts(store: CallStore, calls: list[Call]) -> None:
    assert store.insert([]) == 0, "inserting nothing must store nothing"
    assert store.insert(calls) == len(calls), "insert must return how many calls were new"
    assert store.insert(calls[::2]) == 0, "a call that is stored already must not be new again"
    other = sample_call(id=calls[0].id, cost_nusd=1)
    assert store.insert([other, other]) == 0, "a finished call must not be stored twice"
    assert store.count() == len(calls), "count must be the number of different ids"
    assert store.get(calls[0].id) == calls[0], "a stored call must come back as it was, and never change"
    odd = sample_call(
        release="",
        model="",
        tags=(),
        attempts=(),
        findings=(),
        session="",
        variables=b"",
        stream=False,
        degraded=True,
    )
    assert store.insert([odd, odd]) == 1, "one id twice in a batch must be stored once"
    assert store.get(odd.id) == odd, "empty fields must come back empty"
    assert store.get(new_id(NOON_MS)) is None, "get must return None for an id that is not stored"
    assert store.get("no id") is None, "get must return None for what is no id"
    try:
        store.insert([sample_call(id="no id")])
    except ValueError:
        return
    raise AssertionError("a call id that is no UUIDv7 must raise ValueError")


def _check_paging(store: CallStore, calls: list[Call]) -> None:
    everything = [call.id for call in store.find(CallQuery(limit=10_000))]
    assert everything == sorted(everything, reverse=True), "find must list the newest call first"
    assert set(everything) >= {call.id for call in calls}, "find without filters must list every call"
    paged: list[str] = []
    while page := store.find(CallQuery(limit=7, before=paged[-1] if paged else "")):
        paged.extend(call.id for call in page)
    assert paged == everything, "pages by `before` must join to the whole list, none twice, none left out"
    assert not store.find(CallQuery(limit=0)), "a limit of 0 must give nothing"
    found = store.find(CallQuery(since_us=calls[10].opened.opened_us, until_us=calls[20].opened.opened_us))
    expected = [call.id for call in reversed(calls[10:20])]
    assert [call.id for call in found] == expected, "since_us must be inclusive, until_us exclusive"
    narrow, whole = store.find(CallQuery(limit=1))[0], store.find(CallQuery(limit=1), payload=True)[0]
    assert narrow.closed is not None, "find must return how a call ended"
    words = (narrow.opened.request, narrow.opened.variables, narrow.closed.response)
    assert words == (b"", b"", b""), "find must leave the words out unless `payload` is set"
    assert whole == store.get(whole.id), "find with `payload` must return what get returns"


_DIFFERENT: dict[str, Any] = {
    "project": "acme",
    "purpose": "eval",
    "model": "other/x",
    "provider": "other",
    "route": "sales",
    "release": "rel_2",
    "state": "error",
    "error_code": "rate_limited",
    "key": "key_2",
    "user": "bob",
    "session": "s2",
}


def _check_late_ends(store: CallStore) -> None:
    """Unfinished calls give way to their ends; and each filter finds exactly its calls."""
    for name, value in _DIFFERENT.items():
        call = sample_call(**{name: value})
        other = unfinished(sample_call(id=call.id, arm="z"))
        assert store.insert([unfinished(call), other]) == 1, "an unfinished call must be stored, once"
        assert store.insert([other]) == 0, "an unfinished call must give way to its end only"
        found = store.get(call.id)
        assert found == unfinished(call), "an unfinished call must come back flagged, without an end"
        assert store.insert([call, unfinished(call)]) == 0, (
            "an unfinished call's late end must not be a new call"
        )
        assert store.get(call.id) == call, "an unfinished call must give way to its late end"
        assert store.insert([unfinished(call)]) == 0, "a finished call must not become unfinished"
        assert store.get(call.id) == call, "a finished call must not become unfinished"
        ids = [one.id for one in store.find(CallQuery(**{name: value}))]
        assert ids == [call.id], f"find by {name} must give the calls of that {name}, and only those"
        combined = store.find(CallQuery(**{name: value, "tag": "beta", "text": ""}))
        assert [one.id for one in combined] == [call.id], f"find by {name} and a tag must give both's calls"
    assert len(store.find(CallQuery(model="other/"))) == 1, "a model ending in a slash must match as a prefix"
    assert not store.find(CallQuery(model="othe/")), "a model's prefix must end where its provider ends"
    assert not store.find(CallQuery(tag="bet")), "a tag must match whole"


def _check_words(store: CallStore) -> None:
    asked = {
        "bridge": sample_call(question="Which BRIDGE did Zoë's café-owner cross?"),
        "tokyo": sample_call(question="東京都の天気とソウル서울특별시"),
        "hash": sample_call(question="", payload="hash", request=b"\x01" * 32, response=b"\x02" * 32),
    }
    store.insert(list(asked.values()))
    for _ in range(1000):
        if store.index_pending(50) == 0:
            break
    else:
        raise AssertionError("index_pending must come to an end")
    searches = {
        "bridge": ["bridge", "zoe", '"cafe owner"', "friday bridge", '"did ZOË"', "BRIDGE invoice"],
        "tokyo": ["東京", "京都", "東京都", "天", "ソウル", "서울", "특별시", "東京 天気", '"天気と"'],
    }
    for name, texts in searches.items():
        for text in texts:
            ids = [call.id for call in store.find(CallQuery(text=text))]
            assert ids == [asked[name].id], (
                f"searching {text!r} must find the call that has it, and only that"
            )
    for text in [
        "bridg",
        "東都",
        '"bridge friday"',
        "bridge 東京",
        "?!",
        '""',
        'AND OR NOT "',
        "*",
        "(",
        "body:",
    ]:
        assert not store.find(CallQuery(text=text)), (
            f"searching {text!r} must find nothing, and raise nothing"
        )
    late = sample_call(question="a late sandstorm")
    store.insert([unfinished(late)])
    store.index_pending()
    store.insert([late])
    store.index_pending()
    ids = [call.id for call in store.find(CallQuery(text="sandstorm friday"))]
    assert ids == [late.id], "an unfinished call that gave way must be found once, by its answer too"


def _check_feedback(store: CallStore, call: Call) -> None:
    rows = [
        FeedbackGiven(
            new_id(NOON_MS), call.id, 10 - i, "default", "thumbs", 1.0 - i, "up", "fine", "", "ann", "key_1"
        )
        for i in range(2)
    ]
    assert store.insert_feedback(rows) == 2, "insert_feedback must return how many were new"
    assert store.insert_feedback([*rows, rows[0]]) == 0, (
        "feedback that is stored already must not be new again"
    )
    found = store.get(call.id)
    assert found is not None, "a call must stay when feedback is given"
    assert found.feedback == tuple(reversed(rows)), "a call must come with its feedback, oldest first"
    us = call.opened.opened_us
    listed = store.find(CallQuery(since_us=us, until_us=us + 1))
    assert [one.feedback for one in listed] == [found.feedback], "find must return feedback too"
    early = sample_call()
    store.insert_feedback(
        [msgspec.structs.replace(rows[0], id=new_id(), call_id=early.id, at_us=early.opened.opened_us)]
    )
    store.insert([early])
    later = store.get(early.id)
    assert later is not None, "a call must be stored when its feedback came first"
    assert len(later.feedback) == 1, "feedback that came before its call must be kept"


def _check_rollups(store: CallStore) -> None:
    live = [call for call in store.find(CallQuery(limit=100_000)) if call.opened.purpose == "live"]
    for cube in get_args(Cube):
        rows: list[RollupRow] = store.rollup(cube)
        assert rows == store.recount(cube), f"the rollup {cube} must equal what the calls themselves come to"
        assert rows == sorted(rows, key=lambda row: (row.start_us, row.key)), (
            f"{cube} must be in order of time"
        )
        if cube in ("hour_model", "minute_project", "sixhour_model"):
            assert sum(row.calls for row in rows) == len(live), "only and all live calls must count"
            cost = sum(call.closed.cost_nusd for call in live if call.closed)
            assert sum(row.cost_nusd for row in rows) == cost, "the rollup's cost must be the calls' cost"
        since, until = rows[len(rows) // 3].start_us, rows[len(rows) // 2].start_us
        part = [row for row in rows if since <= row.start_us < until]
        assert store.rollup(cube, since, until) == part, f"{cube} must keep within its bounds"
        assert store.recount(cube, since, until) == part, f"a recount of {cube} must keep within its bounds"
    _check_top_users(store)


def _check_top_users(store: CallStore) -> None:
    days = store.rollup("day_user")
    for project in ("", days[0].key[0], "nobody's"):
        mine = [row for row in days if project in ("", row.key[0])]
        calls = _calls_of(mine)
        for most in (1, 3, len(calls) + 1):
            names = sorted(calls, key=lambda name: (-calls[name], name))[:most]
            found = _calls_of(store.top_users(0, 0, project, most))
            assert found == {name: calls[name] for name in names}, (
                "the users with most calls must be found, and all their days"
            )
    first = [row for row in days if row.start_us == days[0].start_us]
    until = next((row.start_us for row in days if row.start_us > days[0].start_us), 0)
    found = _calls_of(store.top_users(0, until, "", len(days)))
    assert found == _calls_of(first), "top_users must keep within its bounds"


def _calls_of(rows: list[RollupRow]) -> Counter[str]:
    calls: Counter[str] = Counter()
    for row in rows:
        calls[row.key[1]] += row.calls
    return calls
