"""Sums for a bill: what was reported, given up, unpriced, and files of an earlier version."""

from pathlib import Path

import pytest

from trimtab.storage import BillQuery
from trimtab.storage.sqlite import open_call_store
from trimtab.storage.sqlite.connection import connect
from trimtab.storage.sqlite.rows import ADDED
from trimtab.storage.sqlite.schema import DAY_FORMATS
from trimtab.testing.calls import NOON_MS, sample_call, unfinished
from trimtab.types import Attempt, Usage

CUT = Attempt("openai/gpt-4o", 0, 5, "stream_cut", 200)
LIMITED = Attempt("openai/gpt-4o", 0, 5, "rate_limited", 429)
LAST = Attempt("openai/gpt-4o", 9, 5)


def test_what_a_bill_counts(tmp_path: Path) -> None:
    store = open_call_store(tmp_path)
    store.insert(
        [
            sample_call(usage=Usage(10, 5, reported_cost_nusd=7), cost_nusd=8, attempts=(CUT, LIMITED, LAST)),
            sample_call(usage=Usage(10, 5, estimated=True), cost_nusd=3, attempts=(LIMITED, LAST)),
            sample_call(usage=Usage(10, 5), cost_nusd=0, price_version="", purpose="eval"),
            sample_call(usage=Usage(), cost_nusd=0, price_version="", state="error"),
            sample_call(usage=Usage(10, 5), cost_nusd=0, cache_hit=True),
            unfinished(sample_call()),
        ]
    )
    assert {row.key[0] for row in store.bill(BillQuery(by=("served",)))} >= {"gpt-4o"}
    [row] = store.bill(BillQuery(by=()))
    assert (row.calls, row.requests, row.unfinished) == (6, 4, 1)
    assert (row.estimated, row.unpriced, row.retried) == (1, 1, 1)
    assert (row.cost_nusd, row.reported, row.reported_cost_nusd, row.computed_nusd) == (11, 1, 7, 8)
    assert sum(row.requests for row in store.bill(BillQuery(upstream=True))) == 3
    [quarter] = store.bill(BillQuery(by=("quarter",)))
    assert quarter.key == (str(NOON_MS * 1000),)
    assert store.bill(BillQuery(provider="nobody")) == store.bill(BillQuery(project="nobody")) == []
    store.close()


@pytest.mark.parametrize("written", [False, True])
def test_a_file_of_an_earlier_version_is_billed_and_read(tmp_path: Path, *, written: bool) -> None:
    store = open_call_store(tmp_path)
    old, new = sample_call(usage=Usage(3, 4), cost_nusd=9), sample_call(usage=Usage(1, 1, tier="flex"))
    store.insert([old])
    store.close()
    connection = connect(tmp_path / "calls-20260922.db", formats=DAY_FORMATS)
    for name in ADDED:
        connection.execute(f"ALTER TABLE calls DROP COLUMN {name}")
    connection.execute("DELETE FROM meta WHERE name = 'complete'")
    connection.close()
    reader = open_call_store(tmp_path, read_only=True)
    assert reader.get(old.id) == old
    if written:
        store = open_call_store(tmp_path)
        store.insert([new])
        assert reader.get(new.id) == new
        store.close()
    assert sum(row.cost_nusd for row in reader.bill(BillQuery())) == 9 + written * new.closed.cost_nusd
    assert reader.get(old.id) == old
    reader.close()
