"""Planted differences of each kind are all named, and nothing else is."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.bill import Line, compare
from trimtab.storage import BillRow

DAY_US = 86_400_000_000
START = 1_790_553_600_000_000
HOUR_US = 3_600_000_000
PRICE = 150


def row(hour: int, model: str = "m", n: int = 10, **more: int) -> BillRow:
    """One quarter of an hour of ours."""
    sums = {
        "calls": n,
        "requests": n,
        "input_tokens": 100 * n,
        "cached_tokens": 10 * n,
        "output_tokens": 20 * n,
    }
    return BillRow(key=(str(START + hour * HOUR_US), model), **{**sums, "cost_nusd": PRICE * n, **more})


ROWS = [row(hour, model, 3 + hour % 5) for hour, model in itertools.product(range(-20, 92), ("m", "k"))]
"""Three days and what is around them."""


def line(day: int, rows: list[BillRow], model: str = "m", shift_us: int = 0) -> Line:
    """What an honest provider says of one day."""
    start = START + day * DAY_US
    ours = [
        r for r in rows if r.key[1] == model and start + shift_us <= int(r.key[0]) < start + DAY_US + shift_us
    ]
    return Line(
        start_us=start,
        end_us=start + DAY_US,
        model=model,
        requests=sum(r.requests for r in ours),
        input_tokens=sum(r.input_tokens for r in ours),
        cached_tokens=sum(r.cached_tokens for r in ours),
        output_tokens=sum(r.output_tokens for r in ours),
        cost_nusd=sum(r.cost_nusd for r in ours),
    )


HONEST = [line(day, ROWS, model) for day in range(3) for model in ("m", "k")]


def change(at: int, **fields: int | str | None) -> list[Line]:
    return [*HONEST[:at], msgspec.structs.replace(HONEST[at], **fields), *HONEST[at + 1 :]]


def plus(at: int, **more: int) -> list[Line]:
    return change(at, **{name: getattr(HONEST[at], name) + n for name, n in more.items()})


def ours(**more: int) -> list[BillRow]:
    """Our rows, with something more in an hour of the first day."""
    return [msgspec.structs.replace(r, **more) if r.key == (str(START), "m") else r for r in ROWS]


def kinds(lines: list[Line], rows: list[BillRow]) -> list[str]:
    return [found.kind for found in compare(lines, rows).differences]


def test_an_honest_export_has_no_difference():
    report = compare(HONEST, ROWS)
    assert report.equal
    assert not report.notes
    assert report.ours_nusd == report.theirs_nusd == sum(one.cost_nusd for one in HONEST)


PLANTED = {
    "missing_here": (plus(0, requests=2, input_tokens=5), ROWS),
    "missing_here, whole": ([*HONEST, line(0, [row(0, "z")], "z")], ROWS),
    "missing_there": (plus(2, requests=-3, input_tokens=-5), ROWS),
    "missing_there, whole": ([one for one in HONEST if one.model == "m"], ROWS),
    "tokens": (plus(4, output_tokens=7), ROWS),
    "tokens, cached": (plus(4, cached_tokens=-1), ROWS),
    "price": (plus(1, cost_nusd=5_000_000), ROWS),
    "unpriced": (plus(0, cost_nusd=5_000_000), ours(unpriced=2)),
    "timezone": (
        [line(day, ROWS, shift_us=-9 * HOUR_US) for day in range(3)] + [o for o in HONEST if o.model == "k"],
        ROWS,
    ),
    "estimated": (plus(0, output_tokens=3), ours(estimated=1)),
    "estimated, by its cost": (plus(0, cost_nusd=900_000), ours(estimated=1)),
    "unfinished": (plus(0, requests=1, input_tokens=40, cost_nusd=90), ours(unfinished=1)),
    "retried": (plus(0, requests=2, input_tokens=40, cost_nusd=90), ours(retried=2)),
    "retried, and not billed": (HONEST, ours(retried=1, cost_nusd=900_000)),
    "reported": (HONEST, ours(reported=3, reported_cost_nusd=5000, computed_nusd=450)),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_difference_is_named_and_no_other(name):
    lines, rows = PLANTED[name]
    assert kinds(lines, rows) == [name.partition(",")[0]]


def test_all_planted_differences_together():
    lines = list(HONEST)
    lines[1] = msgspec.structs.replace(lines[1], cost_nusd=lines[1].cost_nusd + 5_000_000)
    lines[2] = msgspec.structs.replace(lines[2], requests=lines[2].requests + 4)
    lines[4] = msgspec.structs.replace(lines[4], output_tokens=lines[4].output_tokens + 1)
    lines.append(line(1, [row(25, "z")], "z"))
    rows = [*ours(unfinished=1, estimated=1), row(30, "only-ours")]
    lines[0] = msgspec.structs.replace(lines[0], requests=lines[0].requests + 1)
    assert sorted(kinds(lines, rows)) == sorted(
        ["price", "missing_here", "tokens", "missing_here", "unfinished", "missing_there"]
    )


def test_a_call_over_midnight_is_an_edge():
    a, b = HONEST[0], HONEST[2]
    lines = [
        msgspec.structs.replace(a, requests=a.requests - 1, input_tokens=a.input_tokens - 80),
        HONEST[1],
        msgspec.structs.replace(b, requests=b.requests + 1, input_tokens=b.input_tokens + 80),
        *HONEST[3:],
    ]
    assert kinds(lines, ROWS) == ["bucket_edge", "bucket_edge"]


def test_rounding_is_a_note_and_no_difference():
    lines = [
        msgspec.structs.replace(one, cost_nusd=round(one.cost_nusd, -4), slack_nusd=5000) for one in HONEST
    ]
    report = compare(lines, ROWS)
    assert report.equal
    assert len(report.notes) == sum(
        one.cost_nusd != two.cost_nusd for one, two in zip(lines, HONEST, strict=True)
    )


def test_costs_of_all_models_are_compared_with_all():
    total = [
        Line(start_us=START + d * DAY_US, end_us=START + (d + 1) * DAY_US, cost_nusd=sum(
            one.cost_nusd for one in HONEST if one.start_us == START + d * DAY_US))
        for d in range(3)
    ]  # fmt: skip
    assert compare(total, ROWS).equal
    total[1] = msgspec.structs.replace(total[1], cost_nusd=total[1].cost_nusd * 2)
    assert kinds(total, ROWS) == ["price"]


@given(
    st.lists(
        st.tuples(st.integers(0, 71), st.sampled_from("abc"), st.integers(1, 50)), min_size=1, max_size=40
    )
)
def test_an_honest_export_of_any_traffic_has_no_difference(traffic):
    rows = {}
    for hour, model, n in traffic:
        rows[hour, model] = row(hour, model, n)
    mine = list(rows.values())
    lines = [line(day, mine, model) for day in range(3) for model in "abc"]
    assert compare(lines, mine).equal
