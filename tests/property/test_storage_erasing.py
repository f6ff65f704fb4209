"""Whoever is erased when, in whatever files: the rollups are as if only the other calls had ever been stored."""

import tempfile
from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.storage import CallQuery, Cube, Erasure
from trimtab.storage.sqlite import open_call_store
from trimtab.testing.calls import sample_call, unfinished
from trimtab.types import Call, Usage

MIDNIGHT_MS = 1_790_121_600_000

calls = st.builds(
    lambda ms, tail, tokens, more: sample_call(
        ms=ms,
        id=f"{ms:012x}"[:8] + "-" + f"{ms:012x}"[8:] + f"-7{tail:03x}-8000-{tail:012x}",
        usage=Usage(tokens, tokens // 2, estimated=tokens % 3 == 0),
        cost_nusd=tokens,
        closed_us=ms * 1000 + tokens * 1000,
        **more,
    ),
    ms=st.integers(MIDNIGHT_MS - 90_000, MIDNIGHT_MS + 90_000),
    tail=st.integers(0, 2),
    tokens=st.integers(0, 9999),
    more=st.fixed_dictionaries(
        {
            "user": st.sampled_from(["", "ann", "bob"]),
            "session": st.sampled_from(["", "s1", "s2"]),
            "project": st.sampled_from(["default", "acme"]),
            "purpose": st.sampled_from(["live", "live", "eval"]),
            "state": st.sampled_from(["ok", "error"]),
            "tags": st.sampled_from([(), ("a",), ("a", "é'b")]),
        }
    ),
)
erasures = st.builds(
    Erasure,
    user=st.sampled_from(["", "ann", "bob"]),
    session=st.sampled_from(["", "s1", "s2"]),
    project=st.sampled_from(["", "default", "acme"]),
).filter(lambda what: what.user or what.session)


def is_meant(call: Call, what: Erasure) -> bool:
    o = call.opened
    return all(
        not wanted or wanted == found
        for wanted, found in ((what.user, o.user), (what.session, o.session), (what.project, o.project))
    )


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(st.tuples(calls, st.booleans()), max_size=8), st.booleans(), erasures), max_size=4
    ),
    st.sampled_from([1, 1 << 30]),
)
def test_what_is_erased_was_never_there(
    rounds: list[tuple[list[tuple[Call, bool]], bool, Erasure]], roll_bytes: int
) -> None:
    expected: dict[str, Call] = {}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
        store = open_call_store(folder, roll_bytes=roll_bytes)
        for batch, index, what in rounds:
            sent = [unfinished(call) if dies else call for call, dies in batch]
            for call in sent:
                if call.id not in expected or (expected[call.id].closed is None and call.closed):
                    expected[call.id] = call
            store.insert(sent)
            if index:
                store.index_pending()
            gone = {call_id for call_id, call in expected.items() if is_meant(call, what)}
            assert set(store.erase(what)) == gone
            expected = {call_id: call for call_id, call in expected.items() if call_id not in gone}
        fresh = open_call_store(other)
        fresh.insert(list(expected.values()))
        for cube in get_args(Cube):
            assert store.rollup(cube) == store.recount(cube) == fresh.rollup(cube)
        while store.index_pending() or fresh.index_pending():
            pass
        for query in (
            CallQuery(limit=99),
            CallQuery(limit=99, text="invoice"),
            CallQuery(limit=99, tag="é'b"),
        ):
            assert store.find(query, payload=True) == fresh.find(query, payload=True)
        store.close()
        fresh.close()
