"""How long a recorder rests."""

from trimtab.ledger import Pause, Progress


def test_short_after_a_lone_call_longer_under_load_none_when_behind():
    pause = Pause()
    assert pause.after(Progress(records=2)) == 0.02
    assert pause.after(Progress(records=500)) == 0.1
    assert pause.after(Progress(records=5, behind=True)) == 0.0
    assert pause.after(Progress(records=2)) == 0.02


def test_idle_grows_to_the_longest_and_never_spins():
    pause = Pause()
    pause.after(Progress(records=9999, behind=True))
    naps = [pause.after(Progress()) for _ in range(10)]
    assert naps[0] >= 0.02
    assert naps == sorted(naps)
    assert naps[-1] == 0.2


def test_errors_back_off_to_five_seconds_and_no_further():
    pause = Pause()
    naps = [pause.after(Progress(error="disk full", behind=True)) for _ in range(12)]
    assert naps[0] > 0
    assert naps == sorted(naps)
    assert naps[-1] == 5.0
    assert pause.after(Progress()) == 0.2


def test_idle_means_that_nothing_at_all_was_done():
    assert Progress().idle
    assert Progress(unindexed=3, open_calls=2, damaged_bytes=9).idle
    for work in ("records", "stored", "feedback", "indexed", "removed", "set_aside"):
        assert not Progress(**{work: 1}).idle
    assert not Progress(behind=True).idle
