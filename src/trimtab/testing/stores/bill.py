"""The promises of `CallStore.bill`."""

from trimtab.storage import BillQuery, BillRow, CallQuery, CallStore
from trimtab.types import Call


def check_bill(store: CallStore) -> None:
    """Check that a bill is the sum over the calls, by whatever it is asked by.

    Raises:
        AssertionError: with the promise that was broken.
    """
    calls = store.find(CallQuery(limit=100_000))
    [whole] = store.bill(BillQuery(by=()))
    assert whole.calls == len(calls), "a bill must count calls of every purpose"
    for name in ("input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens"):
        total = sum(getattr(call.closed.usage, name) for call in calls if call.closed)
        assert getattr(whole, name) == total, f"{name} must be the sum over the calls"
    assert whole.cost_nusd == sum(call.closed.cost_nusd for call in calls if call.closed), "cost must add up"
    assert whole.unfinished == sum(call.closed is None for call in calls), (
        "calls without an end must be counted"
    )
    for by in ("day", "project", "key", "user", "route", "model", "provider"):
        rows = store.bill(BillQuery(by=(by,)))
        assert [row.key for row in rows] == sorted({row.key for row in rows}), (
            "rows must be in the order of keys"
        )
        assert _sum(rows) == whole.cost_nusd, f"a bill by {by} must come to the same sum"
    of_model = {row.key[0]: row.cost_nusd for row in store.bill(BillQuery(by=("model",)))}
    assert of_model == _by_model(calls), "a bill by model must be by the model that answered"
    middle = sorted(call.opened.opened_us for call in calls)[len(calls) // 2]
    parts = [store.bill(BillQuery(by=("day", "model"), until_us=middle))]
    parts.append(store.bill(BillQuery(by=("day", "model"), since_us=middle)))
    assert sum(map(_sum, parts)) == whole.cost_nusd, "until is exclusive, since inclusive"


def _sum(rows: list[BillRow]) -> int:
    return sum(row.cost_nusd for row in rows)


def _by_model(calls: list[Call]) -> dict[str, int]:
    found: dict[str, int] = {}
    for call in calls:
        model = (call.closed.model if call.closed else "") or call.opened.model
        found[model] = found.get(model, 0) + (call.closed.cost_nusd if call.closed else 0)
    return found
