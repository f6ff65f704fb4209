"""Traces over the admin API, on a real store; and the page that describes it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tools import admin_api_page

from rigs.control import ControlRig
from trimtab.storage.sqlite import open_call_store
from trimtab.testing.calls import sample_call
from trimtab.testing.spans import in_trace, sample_span


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ControlRig]:
    with ControlRig(tmp_path) as rig:
        store = open_call_store(rig.layout.calls)
        store.insert([sample_call(trace_parent=in_trace(1, 2))])
        store.insert_spans(
            [
                sample_span(1, 1, name="outer"),
                sample_span(1, 2, parent_id=f"{1:016x}", started_us=sample_span().started_us + 1, error="E"),
                sample_span(2, 1, attributes=b"\x05" * 32, project="acme"),
                sample_span(3, 1, attributes=b"", started_us=sample_span().started_us - 5),
            ]
        )
        store.close()
        yield rig


def test_the_list_and_its_pages(rig: ControlRig) -> None:
    whole = rig.ask("GET", "/api/v1/traces").json
    assert [int(row["trace_id"], 16) for row in whole["traces"]] == [2, 1, 3]
    assert whole["before"] is None
    row = whole["traces"][1]
    assert (row["name"], row["spans"], row["errors"], row["calls"]) == ("outer", 2, 1, 1)
    first = rig.ask("GET", "/api/v1/traces?limit=2").json
    assert len(first["traces"]) == 2
    second = rig.ask("GET", f"/api/v1/traces?limit=2&before={first['before']}").json
    assert [int(row["trace_id"], 16) for row in second["traces"]] == [3]
    mine = rig.ask("GET", "/api/v1/traces?project=acme").json
    assert [row["project"] for row in mine["traces"]] == ["acme"]
    for bad in ("before=x", "limit=0", "limit=501", "nope=1", f"before=1-{'f' * 31}-p"):
        assert rig.ask("GET", f"/api/v1/traces?{bad}").status == 400, bad


def test_one_trace(rig: ControlRig) -> None:
    found = rig.ask("GET", f"/api/v1/traces/{1:032x}").json
    assert [span["name"] for span in found["spans"]] == ["outer", "answer"]
    assert found["spans"][0]["attributes"] == {"args": {"question": "When?"}}
    assert [call["opened"]["request"] for call in found["calls"]] == [None]
    assert (found["more_spans"], found["more_calls"]) == (0, 0)
    cut = rig.ask("GET", f"/api/v1/traces/{1:032x}?spans=1&calls=0").json
    assert (len(cut["spans"]), cut["more_spans"], cut["calls"], cut["more_calls"]) == (1, 1, [], 1)
    hashed = rig.ask("GET", f"/api/v1/traces/{2:032x}").json
    assert hashed["spans"][0]["attributes"] == {"sha256": "05" * 32}
    assert rig.ask("GET", f"/api/v1/traces/{3:032x}").json["spans"][0]["attributes"] is None
    for unknown in (f"{9:032x}", "x", "F" * 32):
        assert rig.ask("GET", f"/api/v1/traces/{unknown}").status == 404


def test_the_page_of_the_api_leaves_no_route_out_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "/api/v1/traces/{id}" in admin_api_page.page()
    lost = replace(admin_api_page.ROUTES[0], action="gadget.turn", path="/api/v1/gadgets")
    monkeypatch.setattr(admin_api_page, "ROUTES", (*admin_api_page.ROUTES, lost))
    with pytest.raises(SystemExit, match="/api/v1/gadgets"):
        admin_api_page.page()
