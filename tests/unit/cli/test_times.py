import time
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.cli.terminal import CommandFailed, parse_when, show_iso, show_time

NOW = 1_795_000_000_000_000
SECOND = 1_000_000


@pytest.mark.parametrize(
    ("text", "ago_s"),
    [("90s", 90), ("15m", 900), ("1h", 3600), ("2d", 172_800), ("1w", 604_800), (" 0s ", 0)],
)
def test_ago(text, ago_s):
    assert parse_when(text, NOW) == NOW - ago_s * SECOND


def test_a_date_is_local_midnight(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert (
            parse_when("2026-11-23", NOW)
            == int(datetime.fromisoformat("2026-11-22T15:00+00:00").timestamp()) * SECOND
        )
        assert parse_when("2026-11-23T14:30Z", NOW) == parse_when("2026-11-23T23:30", NOW)
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "text", ["", "yesterday", "1", "h", "-1h", "1y", "2026-13-01", "99999999999999w", "1h2m"]
)
def test_what_is_no_time_is_refused_with_the_mend(text):
    with pytest.raises(CommandFailed, match="is no time") as failed:
        parse_when(text, NOW)
    assert "15m" in failed.value.mend
    assert failed.value.exit_code == 2


@given(st.integers(0, 4_000_000_000_000_000))
def test_what_is_shown_can_be_read_back_to_the_microsecond(at_us):
    assert parse_when(show_iso(at_us), NOW) == at_us


def test_old_times_have_their_day():
    assert len(show_time(NOW - 3600 * SECOND, NOW)) == len("12:00:00")
    assert show_time(NOW - 86_400 * SECOND, NOW).startswith("2026-11-1")
    assert len(show_time(NOW + SECOND, NOW)) == len("2026-11-23 12:00:00")
