"""What `trimtab tail` finds and prints, in process; test_running.py runs the command itself."""

import pytest
from rich.cells import cell_len

from trimtab.cli.callview import call_line
from trimtab.cli.tail import LONGEST_CALL_US, NEWEST, SWEPT, Follower
from trimtab.serve import open_local
from trimtab.storage import CallQuery

BEGAN_S = 1000
START_US = 1_790_000_000_000_000


@pytest.fixture
def local(place):
    with open_local(place / "data") as opened:
        yield opened.calls


def follow(local, **query):
    return Follower(local, CallQuery(**query), START_US + BEGAN_S * 1_000_000)


def test_each_call_is_found_once_in_the_order_of_their_ends(local, make_call):
    old, late, early = make_call(BEGAN_S - 5), make_call(BEGAN_S + 1), make_call(BEGAN_S + 2)
    late = make_call(BEGAN_S + 1, closed_us=early.closed.closed_us + 1)
    local.insert([old])
    follower = follow(local)
    assert follower.skip(0) == []
    local.insert([late, early])
    assert [call.id for call in follower.look(NEWEST)] == [early.id, late.id]
    assert follower.look(NEWEST) == []


def test_the_last_calls_come_first_however_old_they_are(local, make_call):
    calls = [make_call(n) for n in range(3)]  # long before the beginning
    local.insert(calls)
    follower = follow(local)
    assert [call.id for call in follower.skip(2)] == [call.id for call in calls[1:]]
    assert follower.look(SWEPT) == []


def test_a_call_that_took_as_long_as_calls_may_is_found_by_a_sweep(local, make_call):
    follower = follow(local)
    follower.skip(10)
    slow = make_call(BEGAN_S - LONGEST_CALL_US // 1_000_000 + 1)
    local.insert([*(make_call(BEGAN_S + n // 1000) for n in range(NEWEST + 5)), slow])
    assert slow.id not in {call.id for call in follower.look(NEWEST)}
    assert slow.id in {call.id for call in follower.look(SWEPT)}


def test_filters_hold(local, make_call):
    local.insert([make_call(BEGAN_S, user="ann"), make_call(BEGAN_S + 1, user="bob")])
    assert [call.opened.user for call in follow(local, user="ann").look(NEWEST)] == ["ann"]


@pytest.mark.parametrize("width", [0, 1, 20, 50, 80, 99, 100, 119, 120, 200])
def test_a_line_fits_the_terminal(make_call, width):
    for call in (
        make_call(
            0, words="日本語 " * 90, model="provider/" + "日本" * 30, error_code="provider_unreachable"
        ),
        make_call(0, closed=False),
    ):
        line = call_line(call, START_US, width)
        assert "\n" not in line
        if width:
            assert cell_len(line) <= width
        else:
            assert call.id in line
