"""The part of the kit for `CallStore` that is about sessions, providers' ids, erasing and disk space."""

from typing import get_args

import msgspec

from trimtab.storage import CallQuery, CallStore, Cube, Erasure
from trimtab.testing.calls import NOON_MS, sample_call, unfinished
from trimtab.types import Call, FeedbackGiven, new_id

_DAY_MS = 86_400_000


def check_sessions(store: CallStore) -> None:
    """Check `sessions`, on a store that has calls of other projects at most.

    Raises:
        AssertionError: with the promise that was broken.
    """
    calls = [
        sample_call(
            ms=NOON_MS + _DAY_MS * (i % 2) + i, project="talks", session=f"t{i % 5}" if i % 7 else "",
            user="dora" if i % 5 else "", state="error" if i == 8 else "ok", cost_nusd=i, release="",
        )
        for i in range(40)
    ]  # fmt: skip
    store.insert(calls)
    rows = store.sessions(project="talks")
    wanted: dict[str, list[Call]] = {}
    for call in sorted(calls, key=lambda call: call.id, reverse=True):
        if call.opened.session:
            wanted.setdefault(call.opened.session, []).append(call)
    assert [row.session for row in rows] == list(wanted), "sessions must come once each, the newest first"
    for row in rows:
        own = wanted[row.session]
        assert (row.project, row.last_call) == ("talks", own[0].id), "a session must name its newest call"
        assert row.calls == len(own), "a session must count its calls"
        assert row.errors == sum(call.state == "error" for call in own), "a session must count its errors"
        assert row.user == own[0].opened.user, "a session must name its user"
        assert row.cost_nusd == sum(call.closed.cost_nusd for call in own if call.closed), (
            "a session's cost must be the sum of its calls' costs"
        )
        times = [call.opened.opened_us for call in own]
        assert (row.first_us, row.last_us) == (min(times), max(times)), "a session must say when it was"
    paged: list[str] = []
    before = ""
    while page := store.sessions(project="talks", before=before, limit=2):
        paged += [row.session for row in page]
        before = page[-1].last_call
    assert paged == list(wanted), "pages of sessions must join to the whole list, none twice, none left out"
    everything = {row.session for row in store.sessions(limit=1000)}
    assert everything > set(wanted), "sessions must be those of all projects where none is named"
    assert not store.sessions(project="nobody"), "sessions must be those of their project"
    assert store.erase_project("talks") == len(calls), "erase_project must say how many it erased"
    assert not store.find(CallQuery(project="talks")), "erase_project must erase all of a project"


def check_responses(store: CallStore) -> None:
    """Check `find_response`.

    Raises:
        AssertionError: with the promise that was broken.
    """
    first = sample_call(ms=NOON_MS - _DAY_MS, provider_response_id="resp-one-two-three")
    second = sample_call(ms=NOON_MS, provider_response_id="resp-one-two-three")
    other = sample_call(ms=NOON_MS + 1, provider_response_id="resp-ten-two-three")
    store.insert([first, unfinished(second)])
    assert store.find_response("resp-one-two-three") == first.id, "find_response must find a call by its id"
    store.insert([second, other])
    found = store.find_response("resp-one-two-three")
    assert found == second.id, "find_response must return the newest call that has the id"
    for unknown in ("", "three", "resp-ten-two-thre", "resp-one-two-three "):
        assert store.find_response(unknown) is None, "find_response must match the whole id"


def _feedback(call: Call, **changes: str) -> FeedbackGiven:
    given = FeedbackGiven(
        id=new_id(NOON_MS), call_id=call.id, at_us=call.opened.opened_us, project=call.opened.project,
        name="thumbs", score=None, value="", comment="walrus", correction="", user="", key="",
    )  # fmt: skip
    return msgspec.structs.replace(given, **changes)


def check_erasing(store: CallStore) -> None:
    """Check `erase`: everything of whom it names goes, and nothing else.

    Raises:
        AssertionError: with the promise that was broken.
    """
    before = {cube: store.rollup(cube) for cube in get_args(Cube)}
    kept = sample_call(ms=NOON_MS + 5, user="erin", session="other", question="a kept walrus", release="")
    gone = [
        sample_call(
            ms=NOON_MS + _DAY_MS * (i % 3 - 1) + i, user="frida", session="gone" if i % 2 else "stays",
            question="a lonely walrus", tags=("walrus",), purpose="live" if i % 5 else "eval", release="",
        )
        for i in range(30)
    ]  # fmt: skip
    store.insert([kept, *gone[:20]])
    while store.index_pending():
        pass
    store.insert([unfinished(gone[20]), *gone[21:]])
    store.insert_feedback(
        [_feedback(gone[0]), _feedback(kept, user="frida"), _feedback(kept, user="erin", comment="kept")]
    )
    try:
        store.erase(Erasure(project="default"))
    except ValueError:
        pass
    else:
        raise AssertionError("erasing neither a user nor a session must raise ValueError")
    assert store.erase(Erasure(user="frida", project="acme")) == [], "all fields of an erasure must match"
    assert store.erase(Erasure(user="frid")) == [], "an erasure's user must match whole"
    ids = store.erase(Erasure(user="frida", session="gone"))
    assert sorted(ids) == sorted(call.id for call in gone[1::2]), "erase must return the ids of what is gone"
    ids = store.erase(Erasure(user="frida"))
    assert sorted(ids) == sorted(call.id for call in gone[::2]), "erase must return the ids of what is gone"
    assert store.erase(Erasure(user="frida")) == [], "what is erased must be gone"
    assert all(store.get(call.id) is None for call in gone), "erased calls must not be found by id"
    for query in (CallQuery(text="lonely"), CallQuery(tag="walrus"), CallQuery(user="frida")):
        assert not store.find(query), "erased calls must not be found by words, tag or user"
    assert [call.id for call in store.find(CallQuery(text="walrus"))] == [kept.id], (
        "calls of others must still be found by their words"
    )
    found = store.get(kept.id)
    assert found is not None, "calls of others must stay"
    assert [given.comment for given in found.feedback] == ["kept"], (
        "the feedback that an erased user gave on others' calls must go, and only that"
    )
    assert store.insert_feedback([_feedback(gone[0])]) == 1, (
        "feedback on an erased call must have been erased"
    )
    assert store.erase(Erasure(session="other")) == [kept.id], "erase by session must erase that session"
    after = {cube: store.rollup(cube) for cube in get_args(Cube)}
    assert after == before, "the rollups must be as if the erased calls had never been"


def check_expiring(store: CallStore) -> None:
    """Check `expire`: a project's calls go from the days before the one that is named, and nothing else does.

    Raises:
        AssertionError: with the promise that was broken.
    """
    before = {cube: store.rollup(cube) for cube in get_args(Cube)}
    calls = [
        sample_call(ms=NOON_MS + _DAY_MS * day, project=name)
        for day in (-1, 0, 1)
        for name in ("fast", "slow")
    ]
    store.insert(calls)
    assert store.expire({}) == 0, "expire must remove nothing where nothing is named"
    removed = store.expire({"fast": "20260923", "slow": "20260922", "nobody": "20270101"})
    assert removed == 3, "expire must say how many calls it removed"
    left = [call.id for name in ("fast", "slow") for call in reversed(store.find(CallQuery(project=name)))]
    assert left == [calls[4].id, calls[3].id, calls[5].id], (
        "expire must keep the day it names, and those after"
    )
    assert store.expire({"fast": "20270101", "slow": "20270101"}) == 3, "expire must remove all days before"
    after = {cube: store.rollup(cube) for cube in get_args(Cube)}
    assert after == before, "the rollups must be as if the expired calls had never been"


def check_disk_bytes(store: CallStore, days: set[str]) -> None:
    """Check `disk_bytes`.

    Args:
        store: the store.
        days: the days (YYYYMMDD) that have calls.

    Raises:
        AssertionError: with the promise that was broken.
    """
    sizes = store.disk_bytes()
    assert set(sizes) >= days, "disk_bytes must name every day that has calls"
    assert min(sizes.values()) > 0, "a day that has calls must take space on disk"
