"""Rollups equal a recount, whatever comes in what order: duplicates, late ends, midnight, files that roll."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.stats import LogHistogram
from trimtab.storage import CallQuery
from trimtab.storage.sqlite import open_call_store
from trimtab.testing.calls import sample_call, unfinished
from trimtab.types import Call, Usage

MIDNIGHT_MS = 1_790_121_600_000
CUBES = ("hour_model", "hour_prompt", "day_user", "minute_project", "sixhour_model")

calls = st.builds(
    lambda ms, tail, more, tokens, cost, took: sample_call(
        ms=ms,
        id=f"{ms:012x}"[:8] + "-" + f"{ms:012x}"[8:] + f"-7{tail:03x}-8000-{tail:012x}",
        usage=Usage(tokens, tokens // 2, estimated=tokens % 3 == 0),
        cost_nusd=cost,
        closed_us=ms * 1000 + took,
        **more,
    ),
    ms=st.integers(MIDNIGHT_MS - 3, MIDNIGHT_MS + 3)
    | st.integers(MIDNIGHT_MS - 7_200_000, MIDNIGHT_MS + 7_200_000),
    tail=st.integers(0, 3),
    more=st.fixed_dictionaries(
        {},
        optional={
            "model": st.sampled_from(["openai/gpt-4o", "own/small", ""]),
            "project": st.sampled_from(["default", "acme"]),
            "prompt_name": st.sampled_from(["greeting", "", "bye"]),
            "prompt_version": st.integers(1, 11),
            "user": st.sampled_from(["", "ann", "bob"]),
            "state": st.sampled_from(["ok", "error", "cancelled"]),
            "purpose": st.sampled_from(["live", "eval"]),
        },
    ),
    tokens=st.integers(0, 9999),
    cost=st.integers(0, 10**12),
    took=st.integers(-5, 10**8),
)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(st.tuples(calls, st.booleans()), max_size=8), max_size=5),
    st.sampled_from([1, 150_000, 1 << 30]),
)
def test_rollups_equal_a_recount_and_the_calls(
    batches: list[list[tuple[Call, bool]]], roll_bytes: int
) -> None:
    expected: dict[str, Call] = {}
    with tempfile.TemporaryDirectory() as folder:
        store = open_call_store(folder, roll_bytes=roll_bytes)
        for batch in batches:
            sent = [unfinished(call) if dies else call for call, dies in batch]
            known = len(expected)
            for call in sent:
                if call.id not in expected or (expected[call.id].closed is None and call.closed):
                    expected[call.id] = call
            assert store.insert(sent) == len(expected) - known
        assert store.insert(list(expected.values())) == 0
        assert store.find(CallQuery(limit=999), payload=True) == sorted(
            expected.values(), key=lambda call: call.id, reverse=True
        )
        live = [call for call in expected.values() if call.opened.purpose == "live"]
        for cube in CUBES:
            rows = store.rollup(cube)
            assert rows == store.recount(cube)
            counted = [
                call
                for call in live
                if cube in ("hour_model", "minute_project", "sixhour_model")
                or (call.opened.prompt_name if cube == "hour_prompt" else call.opened.user)
            ]
            ends = [call.closed for call in counted if call.closed]
            assert sum(row.calls for row in rows) == len(counted)
            assert sum(row.unfinished for row in rows) == len(counted) - len(ends)
            assert sum(row.errors for row in rows) == sum(end.state == "error" for end in ends)
            assert sum(row.estimated for row in rows) == sum(end.usage.estimated for end in ends)
            assert sum(row.cost_nusd for row in rows) == sum(end.cost_nusd for end in ends)
            assert sum(row.input_tokens for row in rows) == sum(end.usage.input_tokens for end in ends)
            assert sum(row.output_tokens for row in rows) == sum(end.usage.output_tokens for end in ends)
            assert sum(LogHistogram.unpack(row.latency).count for row in rows) == len(ends)
            step_us = {
                "day_user": 86_400_000_000,
                "minute_project": 60_000_000,
                "sixhour_model": 21_600_000_000,
            }.get(cube, 3_600_000_000)
            assert all(row.start_us % step_us == 0 for row in rows)
        store.close()
        assert sorted(path.suffix for path in Path(folder).iterdir() if path.suffix != ".db") == [".json"]
