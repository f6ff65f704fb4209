"""The breaker: when it opens, for how long, who probes, what closes it; shared by processes."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.pipeline.health.board import Board, pack, place_of, unpack
from trimtab.pipeline.health.breaker import Breaker
from trimtab.types import Breaker as Rules

RULES = Rules()


def breaker(rules: Rules = RULES, board: Board | None = None, label: str = "p/m") -> Breaker:
    return Breaker(label, rules, board or Board())


def fail(it: Breaker, times: int, now: float) -> None:
    for _ in range(times):
        it.bad(now, now)


def test_it_is_closed_until_half_of_enough_calls_were_bad():
    it = breaker()
    for _ in range(10):
        it.good()
    for _ in range(9):
        it.bad(1.0, 1.0)
        assert it.closed
        it.good()
    it.bad(1.0, 1.0)
    assert not it.closed
    assert it.state(1.5) == ("open", pytest.approx(0.5))
    assert it.opened == 1


def test_few_calls_are_not_judged_by_their_share_but_by_bad_ones_in_a_row():
    it = breaker()
    fail(it, 3, 0.0)
    it.good()
    fail(it, 3, 0.0)
    assert it.closed
    fail(it, 1, 0.0)
    assert not it.closed, "4 in a row"


def test_a_rare_error_never_opens_it():
    it = breaker()
    for _ in range(1000):
        fail(it, 1, 0.0)
        for _ in range(3):
            it.good()
    assert it.closed


def test_one_probe_at_a_time_and_two_good_ones_close_it():
    it = breaker()
    fail(it, 5, 10.0)
    assert not it.claim(10.5), "open"
    assert it.claim(11.0)
    assert not it.claim(11.1), "another call probes"
    it.probed(11.2, well=True)
    assert not it.closed
    assert it.claim(11.2)
    it.probed(11.3, well=True)
    assert it.closed


def test_bad_probes_double_the_wait_up_to_the_longest():
    it = breaker()
    fail(it, 5, 0.0)
    now, waits = 0.0, []
    for _ in range(4):
        state, left = it.state(now)
        assert state == "open"
        waits.append(left)
        now += left + 0.001
        assert it.claim(now)
        it.probed(now, well=False)
    assert waits == pytest.approx([1, 2, 3, 3], abs=0.01)


def test_a_probe_that_says_nothing_is_followed_by_the_next():
    it = breaker()
    fail(it, 5, 0.0)
    assert it.claim(1.0)
    assert not it.claim(2.9)
    assert it.claim(3.1)
    it.unclaim(3.2)
    assert it.claim(3.2), "a cancelled probe gives its place back"


def test_calls_begun_before_it_opened_say_nothing_new():
    it = breaker()
    fail(it, 5, 10.0)
    assert it.claim(11.0)
    it.probed(11.0, well=True)
    assert it.claim(11.1)
    it.probed(11.1, well=True)
    for _ in range(50):
        it.bad(9.0, 12.0)
    assert it.closed
    fail(it, 5, 12.0)
    assert not it.closed


def test_workers_of_a_machine_share_it(tmp_path):
    one, other = Board(tmp_path / "breakers"), Board(tmp_path / "breakers")
    here, there = breaker(board=one), breaker(board=other)
    elsewhere = breaker(board=other, label="p/n")
    fail(here, 5, 0.0)
    assert not there.closed
    assert elsewhere.closed
    assert there.claim(1.0)
    assert not here.claim(1.0)
    there.probed(1.1, well=True)
    assert here.claim(1.1)
    here.probed(1.2, well=True)
    assert there.closed
    assert here.closed


def test_a_word_from_before_the_machine_was_started_anew_holds_nobody_up():
    board = Board()
    it = breaker(board=board)
    board.words[it.place] = pack(1e6, 3, 0, place_of("p/m")[1])
    assert it.state(5.0)[0] == "half_open"
    assert it.claim(5.0)


def test_another_targets_word_on_the_same_place_is_not_ones_own():
    board = Board()
    it = breaker(board=board)
    board.words[it.place] = pack(100.0, 1, 0, place_of("p/m")[1] ^ 1)
    assert it.closed
    it.probed(1.0, well=False)
    assert it.closed


def test_it_can_be_switched_off():
    it = breaker(msgspec.structs.replace(RULES, enabled=False))
    fail(it, 100, 0.0)
    assert it.closed


@given(
    until=st.integers(0, 2**38), opens=st.integers(0, 15), wins=st.integers(0, 15), tag=st.integers(1, 65535)
)
def test_a_word_holds_what_was_put_in(until, opens, wins, tag):
    word = pack(until / 1000, opens, wins, tag)
    assert 0 < word < 2**63
    found, *rest = unpack(word)
    assert abs(found - until / 1000) <= 0.001
    assert rest == [opens, wins, tag]


@given(st.lists(st.sampled_from("gbct"), max_size=200), st.data())
def test_no_history_keeps_a_target_away_for_longer_than_the_longest_wait(history, data):
    it, now = breaker(), 0.0
    for step in history:
        now += data.draw(st.floats(0, 0.5))
        if step == "g":
            it.good()
        elif step == "b":
            it.bad(now, now)
        elif not it.closed and it.claim(now):
            it.probed(now, well=step == "c")
    assert it.closed or it.state(now)[1] <= max(RULES.open_max_s, 2.0) + 0.002
    later = now + RULES.open_max_s + 2
    if not it.closed:
        assert it.claim(later)
