"""Usage exports in every format, and what is wrong with those that are none."""

import json
from datetime import UTC
from zoneinfo import ZoneInfo

import pytest

from trimtab.bill import Line, merge, read_export
from trimtab.types import ConfigError

DAY = 1_790_553_600
"""2026-09-28 00:00 UTC."""
DAY_US, NEXT_US = DAY * 1_000_000, (DAY + 86_400) * 1_000_000
USAGE = {
    "object": "organization.usage.completions.result", "input_tokens": 1000, "output_tokens": 500,
    "input_cached_tokens": 800, "num_model_requests": 5, "project_id": None, "model": "gpt-4o-mini-2024-07-18",
    "batch": None,
}  # fmt: skip
BUCKET = {"object": "bucket", "start_time": DAY, "end_time": DAY + 86_400}
WHOLE = Line(
    start_us=DAY_US, end_us=NEXT_US, model="gpt-4o-mini-2024-07-18", requests=10, input_tokens=2000,
    cached_tokens=1600, output_tokens=1000,
)  # fmt: skip


def page(*results, **more):
    return json.dumps({"object": "page", "data": [{**BUCKET, "results": list(results)}], **more}).encode()


def test_usage_of_the_api_is_added_up_over_projects_and_keys():
    assert read_export(page(USAGE, USAGE), UTC) == [WHOLE]
    pages = b"[" + page(USAGE, next_page="x") + b"," + page(USAGE) + b"]"
    assert read_export(pages, UTC) == [WHOLE]


def test_costs_of_the_api_are_by_the_model_of_their_line_item():
    items = [("gpt-4o-mini-2024-07-18, input", 0.06), ("gpt-4o-mini-2024-07-18, output", 0.12), (None, 1)]
    costs = [{"amount": {"value": value, "currency": "usd"}, "line_item": item} for item, value in items]
    everything, of_model = read_export(page(*costs), UTC)
    assert (everything.model, everything.cost_nusd) == ("", 1_000_000_000)
    assert (of_model.model, of_model.cost_nusd) == ("gpt-4o-mini-2024-07-18", 180_000_000)
    both = merge([[WHOLE], [of_model]])
    assert [(line.requests, line.cost_nusd) for line in both] == [(10, 180_000_000)]


def test_the_consoles_csv():
    head = "start_time,end_time,start_time_iso,end_time_iso,project_id,num_model_requests,user_id,api_key_id,model,"
    head += "batch,service_tier,input_tokens,output_tokens,input_cached_tokens,input_uncached_tokens\r\n"
    row = f"{DAY},{DAY + 86400},a,b,p,5.0,,key_1,gpt-4o-mini-2024-07-18,,,1000,500,800,200\r\n"
    empty = f"{DAY + 86400},{DAY + 172800},,,,,,,,,,,,,\r\n"
    assert read_export(("\ufeff" + head + row + row).encode(), UTC) == [WHOLE]
    assert len(read_export((head + row + empty).encode(), UTC)) == 2


def test_minutes_are_joined_to_quarters_of_an_hour():
    rows = "\n".join(f"{DAY + 60 * n},{DAY + 60 * (n + 1)},m,1,1,0,1" for n in range(20))
    found = read_export(
        f"start_time,end_time,model,requests,input_tokens,cached_tokens,output_tokens\n{rows}".encode(), UTC
    )
    assert [(line.start_us, line.requests) for line in found] == [(DAY_US, 15), (DAY_US + 900_000_000, 5)]


def test_the_plain_form_in_a_time_zone():
    text = "date,model,requests,input_tokens,cached_tokens,output_tokens,cost_usd\n2026-09-28,m,5,1000,0,7,$0.25\n"
    [line] = read_export(text.encode(), ZoneInfo("Asia/Tokyo"))
    assert (line.start_us, line.end_us) == (DAY_US - 9 * 3600 * 10**6, NEXT_US - 9 * 3600 * 10**6)
    assert (line.cost_nusd, line.slack_nusd) == (250_000_000, 5_000_000)
    [hour] = read_export(b"time,model,cost_usd\n2026-09-28T05:00:00+00:00,m,1\n", UTC)
    assert hour.end_us - hour.start_us == 3600 * 10**6
    assert hour.requests is None


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"\xff\xfe", "no UTF-8"),
        (b"{", "usage.x:"),
        (b'{"data": 7}', "`data` is missing"),
        (b"[7]", "`data` is missing"),
        (b"model,cost_usd\nm,1\n", "no column of times"),
        (b"", "no column of times"),
        (b"date,cost_usd\nyesterday,1\n", "line 2: 'yesterday' is no time"),
        (b"date,requests\n2026-01-01,-1\n", "requests '-1' is no count"),
        (b"date,requests\n2026-01-01,1.5\n", "is no count"),
        (b"date,cost_usd\n2026-01-01,much\n", "is no amount"),
    ],
)
def test_what_is_no_export_is_refused_by_its_place(raw, said):
    with pytest.raises(ConfigError) as refused:
        read_export(raw, UTC, "usage.x")
    assert said in refused.value.message
