"""`trimtab bill`, `bill reconcile` and `prices`, over a real folder and over the admin API."""

import hashlib
import json

import pytest

from rigs.fake_control import bill_row
from trimtab.types import Usage

DAY = "2026-09-21"
"""The day of the calls' time."""
HEAD = "date,model,requests,input_tokens,cached_tokens,output_tokens,cost_usd"


def some(make_call):
    """Three calls of one day, 100 tokens in and 20 out each."""
    return [
        make_call(n, provider="openai", model="openai/gpt-4o", model_served="gpt-4o-2024-11-20", key=f"key_{n % 2}",
                  usage=Usage(100, 20, 10), cost_nusd=1000, price_version="v1")
        for n in range(3)
    ]  # fmt: skip


@pytest.fixture
def recorded(stored, make_call):
    stored(some(make_call))


def test_a_bill_by_each_key(run, recorded):
    for by, keys in (("key", {"key_0", "key_1"}), ("model", {"openai/gpt-4o"}), ("day", {DAY})):
        rows = json.loads(run("bill", "--by", by, "--json").out)
        assert {row[by] for row in rows} == keys
        assert sum(row["cost_nusd"] for row in rows) == 3000
        assert sum(row["calls"] for row in rows) == 3
    ran = run("bill")
    assert ran.code == 0
    assert "0.000003" in ran.out
    assert "$0.000003 together" in ran.err
    assert run("bill", "--since", "2030-01-01").out.count("\n") == 1
    assert run("bill", "--by", "mood").code == 2


def test_a_bill_of_what_runs_is_that_of_its_admin_api(run, running, make_call):
    asked = []

    async def bill(query):
        asked.append(query)
        return [bill_row(call, query.by) for call in some(make_call)]

    running.bill = bill
    assert run("bill", "reconcile", "nowhere.csv").code == 2
    assert sum(row["cost_nusd"] for row in json.loads(run("bill", "--json", "--by", "user").out)) == 3000
    assert asked[0].by == ("user",)


def test_an_export_that_agrees_and_one_that_does_not(run, recorded, place):
    (place / "good.csv").write_text(f"{HEAD}\n{DAY},gpt-4o-2024-11-20,3,300,30,60,0.000003\n")
    ran = run("bill", "reconcile", "good.csv")
    assert (ran.code, "No difference." in ran.out) == (0, True), ran
    (place / "bad.csv").write_text(f"{HEAD}\n{DAY},gpt-4o-2024-11-20,4,300,30,60,0.000003\n")
    ran = run("bill", "reconcile", "bad.csv", "--json")
    assert ran.code == 1
    [found] = json.loads(ran.out)["differences"]
    assert (found["kind"], found["ours"], found["theirs"], found["unit"]) == (
        "missing_here",
        3,
        4,
        "requests",
    )
    assert "missing_here" in run("bill", "reconcile", "bad.csv").out
    assert run("bill", "reconcile", "bad.csv", "--provider", "other").code == 1


def test_what_cannot_be_found_out_is_no_success(run, recorded, place):
    assert run("bill", "reconcile", "nowhere.csv").code == 2
    (place / "odd.csv").write_text("a,b\n1,2\n")
    ran = run("bill", "reconcile", "odd.csv")
    assert ran.code == 3
    assert "no column of times" in ran.err
    (place / "empty.csv").write_text(HEAD + "\n")
    assert run("bill", "reconcile", "empty.csv").code == 3
    assert run("bill", "reconcile", "empty.csv", "--zone", "Mars/Olympus").code == 2


TABLE = json.dumps(
    {
        "version": "acme-1",
        "models": {"acme/x": {"prices": [{"from": "2026-01-01", "input": "1", "output": "2"}]}},
    }
)


def test_a_table_is_checked_then_made_the_installations(run, place):
    (place / "prices.json").write_text(TABLE)
    digest = hashlib.sha256(TABLE.encode()).hexdigest()
    assert digest in run("prices", "check", "prices.json").out
    assert run("prices", "show", "acme/x").code == 1
    assert run("prices", "update", "prices.json", "--sha256", "0" * 64).code == 2
    assert run("prices", "show", "acme/x").code == 1
    ran = run("prices", "update", "prices.json", "--sha256", digest)
    assert ran.code == 0
    assert digest in ran.out
    assert "from the next start" in ran.out
    assert "acme/x" in run("prices", "show", "acme/x").out
    assert json.loads(run("prices", "--json").out)["version"].startswith("acme-1-")
    (place / "prices.json").write_text('{"models": {"x": {}}}')
    assert run("prices", "check", "prices.json").code == 2
    assert run("prices", "update", "prices.json").code == 2
    assert "acme/x" in run("prices", "show", "acme/x").out


def test_models_called_without_a_price_are_named(run, stored, make_call):
    from trimtab.types import SystemClock, new_id

    now_us = SystemClock().now_us()
    stored([make_call(0, id=new_id(now_us // 1000), opened_us=now_us, closed_us=now_us, model="acme/dear",
                      usage=Usage(5, 5), price_version="", cost_nusd=0)])  # fmt: skip
    ran = run("prices", "check")
    assert (ran.code, "acme/dear" in ran.out) == (1, True)
