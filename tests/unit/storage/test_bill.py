"""Sums for a bill: what was reported, given up, held, unpriced."""

from pathlib import Path

import msgspec

from trimtab.storage import BillQuery
from trimtab.storage.sqlite import open_call_store
from trimtab.testing.calls import NOON_MS, sample_call, unfinished
from trimtab.types import Attempt, Usage

CUT = Attempt("openai/gpt-4o", 0, 5, "stream_cut", 200)
LIMITED = Attempt("openai/gpt-4o", 0, 5, "rate_limited", 429)
LAST = Attempt("openai/gpt-4o", 9, 5)


def test_what_a_bill_counts(tmp_path: Path) -> None:
    held = unfinished(sample_call())
    held = msgspec.structs.replace(held, opened=msgspec.structs.replace(held.opened, reserved_nusd=500))
    store = open_call_store(tmp_path)
    store.insert(
        [
            sample_call(usage=Usage(10, 5, reported_cost_nusd=7), cost_nusd=8, attempts=(CUT, LIMITED, LAST)),
            sample_call(usage=Usage(10, 5, estimated=True), cost_nusd=3, attempts=(LIMITED, LAST)),
            sample_call(usage=Usage(10, 5), cost_nusd=0, price_version="", purpose="eval"),
            sample_call(usage=Usage(), cost_nusd=0, price_version="", state="error"),
            sample_call(usage=Usage(10, 5), cost_nusd=0, cache_hit=True),
            held,
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
    assert sum(row.cost_nusd for row in store.spend()) == 511
    assert store.bill(BillQuery(provider="nobody")) == store.bill(BillQuery(project="nobody")) == []
    store.close()


GIVEN_UP = Attempt("openai/gpt-4o", 9, 5, "given_up", 0, "hedge", Usage(10, 5, estimated=True), 4)


def test_what_was_given_up_since_another_answered_is_counted_wherever_it_stands(tmp_path: Path) -> None:
    store = open_call_store(tmp_path)
    store.insert([sample_call(attempts=(Attempt("openai/gpt-4o", 0, 20), GIVEN_UP), cost_nusd=12)])
    store.insert([sample_call(attempts=(GIVEN_UP, LAST), cost_nusd=12)])
    [row] = store.bill(BillQuery(by=()))
    assert (row.retried, row.cost_nusd) == (2, 24)
    store.close()


def test_texts_beyond_the_names_of_a_file_are_billed_alike(tmp_path: Path) -> None:
    store = open_call_store(tmp_path)
    route = "r" * 300  # too long for a number
    store.insert([sample_call(route=route, cost_nusd=2), sample_call(route="short", cost_nusd=3)])
    store.insert([sample_call(route=route, cost_nusd=4)])
    rows = store.bill(BillQuery(by=("route", "provider", "served")))
    assert {row.key[0]: row.cost_nusd for row in rows} == {route: 6, "short": 3}
    assert len({row.key[1:] for row in rows}) == 1
    store.close()
