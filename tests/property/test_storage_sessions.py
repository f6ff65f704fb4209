"""Pages of sessions join to the whole list: none twice, none left out, in whatever order calls were stored."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.storage import CallStore, SessionRow
from trimtab.storage.sqlite import lookups, open_call_store
from trimtab.testing.calls import NOON_MS, sample_call
from trimtab.types import Call

HOUR_MS = 3_600_000

calls = st.lists(
    st.builds(
        lambda hour, ms, session, project, late: (
            sample_call(ms=NOON_MS + hour * HOUR_MS + ms, session=session, project=project),
            late,
        ),
        st.integers(-30, 30),
        st.integers(0, 3),
        st.sampled_from(["", "a", "b", "c", "d", "e"]),
        st.sampled_from(["p", "q"]),
        st.integers(0, 3),
    ),
    max_size=40,
)


def paged(store: CallStore, project: str, limit: int) -> list[SessionRow]:
    rows: list[SessionRow] = []
    before = ""
    while page := store.sessions(project=project, before=before, limit=limit):
        assert len(page) <= limit
        rows += page
        before = page[-1].last_call
    return rows


def newest_of(stored: list[Call], project: str) -> dict[tuple[str, str], str]:
    """Return the newest call of each session, the newest session first."""
    found: dict[tuple[str, str], str] = {}
    for call in sorted(stored, key=lambda call: call.id, reverse=True):
        if call.opened.session and project in ("", call.opened.project):
            found.setdefault((call.opened.project, call.opened.session), call.id)
    return found


@given(calls, st.sampled_from(["", "p"]), st.integers(1, 4), st.integers(2, 50))
def test_pages_of_sessions_join_to_the_whole_list(
    found: list[tuple[Call, int]], project: str, limit: int, looked_at: int
) -> None:
    """However few calls are looked at in one go, as long as the rounds reach the end."""
    stored = [call for call, _ in found]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(lookups, "ROUNDS", 100)
        patch.setattr(lookups, "LOOKED_AT", looked_at)
        patch.setattr("trimtab.storage.sqlite.calls.LOOKED_AT", looked_at)
        store = open_call_store(Path(folder))
        try:
            for late in range(4):
                store.insert([call for call, at in found if at == late])
            rows = paged(store, project, limit)
        finally:
            store.close()
    wanted = newest_of(stored, project)
    assert sorted((row.project, row.session) for row in rows) == sorted(wanted)
    assert [row.last_call for row in rows] == sorted((row.last_call for row in rows), reverse=True)
    if looked_at > len(stored):
        assert [(row.project, row.session) for row in rows] == list(wanted)


def test_a_session_that_goes_on_meanwhile_is_on_no_later_page(tmp_path: Path) -> None:
    store = open_call_store(tmp_path)
    made = [sample_call(ms=NOON_MS + i, session=f"s{i}") for i in range(6)]
    store.insert(made)
    first = store.sessions(limit=3)
    store.insert(
        [sample_call(ms=NOON_MS + 100, session=first[0].session), sample_call(ms=NOON_MS + 101, session="s9")]
    )
    second = store.sessions(before=first[-1].last_call, limit=3)
    assert [row.session for row in (*first, *second)] == ["s5", "s4", "s3", "s2", "s1", "s0"]
    store.close()


def test_behind_a_session_of_very_many_calls_the_others_are_found(tmp_path: Path) -> None:
    store = open_call_store(tmp_path)
    store.insert([sample_call(ms=NOON_MS - 5, session="old"), sample_call(ms=NOON_MS - 4, session="older")])
    store.insert([sample_call(ms=NOON_MS + i, session="busy") for i in range(lookups.LOOKED_AT + 500)])
    assert [row.session for row in store.sessions(limit=2)] == ["busy", "older"]
    busy = store.sessions(limit=1)[0]
    assert [row.session for row in store.sessions(before=busy.last_call, limit=5)] == ["older", "old"]
    store.close()
