"""Pages join to the whole list, for any filter, and for ids that claim one another's places."""

import tempfile
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.storage import CallQuery
from trimtab.storage.sqlite import open_call_store
from trimtab.testing.calls import NOON_MS, sample_call
from trimtab.types import Call


def call_of(ms: int, high: int, low: int, fields: dict[str, Any]) -> Call:
    """Ids alike in their first 20 bits after the version claim one place; `low` tells them apart."""
    digits = f"{NOON_MS + ms:012x}"
    return sample_call(ms=NOON_MS + ms, id=f"{digits[:8]}-{digits[8:]}-7{high:03x}-8000-{low:012x}", **fields)


fields = st.fixed_dictionaries(
    {
        "user": st.sampled_from(["", "ann", "bob"]),
        "model": st.sampled_from(["openai/gpt-4o", "own/small"]),
        "state": st.sampled_from(["ok", "error"]),
        "project": st.sampled_from(["default", "acme"]),
        "tags": st.sampled_from([(), ("vip",), ("vip", "beta")]),
    }
)
calls = st.builds(call_of, st.integers(0, 3), st.sampled_from([0, 1, 0xFFF]), st.integers(0, 2**47), fields)
queries = st.fixed_dictionaries(
    {},
    optional={
        "user": st.sampled_from(["ann", "bob", "eve"]),
        "model": st.sampled_from(["openai/gpt-4o", "own/"]),
        "state": st.sampled_from(["ok", "error"]),
        "project": st.sampled_from(["default", "acme"]),
        "tag": st.sampled_from(["vip", "beta"]),
        "text": st.sampled_from(["invoice", "friday invoice", "nowhere"]),
        "since_us": st.integers(NOON_MS * 1000 - 500, NOON_MS * 1000 + 4500),
        "until_us": st.integers(NOON_MS * 1000 - 500, NOON_MS * 1000 + 4500),
    },
)


def matches(call: Call, query: dict[str, Any]) -> bool:
    o = call.opened
    return (
        query.get("user", o.user) == o.user
        and o.model.startswith(query.get("model", ""))
        and query.get("state", call.state) == call.state
        and query.get("project", o.project) == o.project
        and query.get("tag", "vip") in (*o.tags, *(() if "tag" in query else ("vip",)))
        and query.get("text") != "nowhere"
        and query.get("since_us", 0) <= o.opened_us < query.get("until_us", 1 << 62)
    )


@settings(max_examples=30, deadline=None)
@given(
    st.lists(calls, min_size=1, max_size=40, unique_by=lambda call: call.id),
    st.lists(queries, min_size=1, max_size=8),
    st.integers(1, 9),
    st.sampled_from([1, 1 << 30]),
    st.integers(1, 4),
)
def test_pages_join_to_the_whole_list(
    stored: list[Call], asked: list[dict[str, Any]], limit: int, roll_bytes: int, pieces: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = open_call_store(folder, roll_bytes=roll_bytes)
        for piece in range(pieces):
            store.insert(stored[piece::pieces])
        assert store.index_pending() == 0
        for call in stored:
            assert store.get(call.id) == call
        for query in asked:
            expected = sorted((call.id for call in stored if matches(call, query)), reverse=True)
            found: list[str] = []
            while page := store.find(CallQuery(**query, limit=limit, before=found[-1] if found else "")):
                assert len(page) <= limit
                found.extend(call.id for call in page)
            assert found == expected
        store.close()
