"""Spend pages: the sums are those of the calls, in every grouping, and no cell of the file is a formula."""

import csv
import html
import io
import json

import msgspec
import pytest

from trimtab.console.costs import BY

DAY_US = 86_400_000_000


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))


@pytest.mark.parametrize("by", BY)
def test_every_grouping_comes_to_what_the_calls_cost(viewer, control, by):
    cost = sum(call.closed.cost_nusd for call in control.records.calls if call.closed)
    page = viewer.get(f"/spend?range=90d&by={by}")
    assert page.status == 200
    assert f"/spend/figures?range=90d&by={by}" in html.unescape(page.text)
    rows = rows_of(viewer.get(f"/spend.csv?range=90d&by={by}").text)
    assert round(sum(float(row["cost_usd"]) for row in rows) * 1e9) == cost
    assert sum(int(row["calls"]) for row in rows) == len(control.records.calls)
    part = viewer.get(f"/spend/figures?range=90d&by={by}").text
    assert part.count("<tr data-row>") == len(rows)
    series = json.loads(viewer.get(f"/spend/series.json?range=90d&by={by}").text)
    assert len(series["time"]) == 91
    assert sum(series["cost"][:-1]) == pytest.approx(cost / 1e9, abs=1e-4)


def test_models_without_a_price_are_named_with_what_to_do(viewer, control):
    call = next(
        call for call in reversed(control.records.calls) if call.closed and call.closed.usage.input_tokens
    )
    closed = msgspec.structs.replace(call.closed, price_version="", cost_nusd=0, model="acme/unheard-of")
    control.records.calls.append(msgspec.structs.replace(call, closed=closed))
    part = html.unescape(viewer.get("/spend/figures?range=7d&by=user").text)
    assert "acme/unheard-of" in part
    assert "trimtab prices update" in part


def test_no_cell_of_the_file_is_a_formula(viewer, control):
    call = control.records.calls[-1]
    opened = msgspec.structs.replace(call.opened, user="=1+1")
    control.records.calls.append(msgspec.structs.replace(call, opened=opened))
    assert "'=1+1" in {row["user"] for row in rows_of(viewer.get("/spend.csv?by=user").text)}


def test_what_is_not_known_falls_back(viewer):
    assert viewer.get("/spend?range=5y&by=mood").status == 200
    assert viewer.get("/spend/figures?range=5y&by=mood").status == 200


@pytest.mark.parametrize("path", ["/spend/figures?range=7d&by=user", "/?range=7d&top=users"])
def test_who_is_erased_is_on_no_page_a_moment_later(admin, control, path):
    user = max((call.opened for call in control.records.calls), key=lambda opened: opened.opened_us).user
    assert user in admin.get(path).words
    admin.post("/privacy/-/erase", {"user": user, "typed_name": user})
    assert control.records.erasures == 1
    assert user not in admin.get(path).words
