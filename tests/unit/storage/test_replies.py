"""The file of kept replies: bounded, shared, and never an obstacle."""

import os
import stat
import subprocess
import sys
import time

import apsw
import pytest

from trimtab.storage.sqlite import clear_replies, open_reply_cache, reply_figures

NOW = 1_790_000_000_000_000
LATER = NOW + 60_000_000


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache.db"


@pytest.fixture
def cache(path):
    cache = open_reply_cache(path, lambda: 4_000_000)
    yield cache
    cache.close()


def wait_for(look, timeout_s=10.0):
    until = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < until, "it was never written"
        time.sleep(0.005)
    return found


def test_nothing_is_made_before_it_is_needed(cache, path):
    assert cache.get(b"k", NOW) is None
    assert not path.exists()


def test_a_reply_is_given_until_it_expires(cache):
    cache.put(b"k", b"reply", LATER, NOW)
    assert wait_for(lambda: cache.get(b"k", NOW)) == b"reply"
    assert cache.get(b"k", LATER - 1) == b"reply"
    assert cache.get(b"k", LATER) is None
    assert cache.get(b"other", NOW) is None


def test_the_last_one_counts(cache, path):
    for number in range(50):
        cache.put(b"k", b"%d" % number, LATER, NOW)
    wait_for(lambda: cache.get(b"k", NOW) == b"49")
    assert reply_figures(path, NOW)[0] == 1


def test_all_that_waits_is_written_at_the_end(path):
    cache = open_reply_cache(path, lambda: 4_000_000)
    for number in range(100):
        cache.put(b"%d" % number, b"x", LATER, NOW)
    cache.close()
    assert reply_figures(path, NOW)[0] == 100


def test_two_processes_share_it(cache, path):
    program = (
        "import sys; from trimtab.storage.sqlite import open_reply_cache\n"
        "c = open_reply_cache(sys.argv[1], lambda: 4_000_000)\n"
        f"c.put(b'theirs', b'reply', {LATER}, {NOW}); c.close()"
    )
    cache.put(b"ours", b"reply", LATER, NOW)
    wait_for(lambda: cache.get(b"ours", NOW))
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)
    assert cache.get(b"theirs", NOW) == b"reply"
    assert reply_figures(path, NOW)[0] == 2


def test_it_stays_within_its_bound_and_forgets_the_oldest(path):
    bound = 2_000_000
    cache = open_reply_cache(path, lambda: bound)
    for number in range(600):
        cache.put(b"%d" % number, os.urandom(20_000), LATER, NOW)
        wait_for(lambda number=number: cache.get(b"%d" % number, NOW))
    cache.close()
    count, used = reply_figures(path, NOW)
    assert used <= bound
    assert count >= bound * 0.8 / 25_000
    assert path.stat().st_size <= bound * 1.2
    cache = open_reply_cache(path, lambda: bound)
    there = [number for number in range(600) if cache.get(b"%d" % number, NOW) is not None]
    cache.close()
    assert there == list(range(600 - len(there), 600))


def test_one_too_large_for_the_bound_is_left_out(path):
    cache = open_reply_cache(path, lambda: 2_000_000)
    cache.put(b"large", bytes(1_900_000), LATER, NOW)
    cache.put(b"small", b"x", LATER, NOW)
    cache.close()
    assert reply_figures(path, NOW)[0] == 1


@pytest.mark.parametrize("damage", ["text", "cut", "newer"])
def test_a_file_that_cannot_be_used_is_replaced(path, damage):
    cache = open_reply_cache(path, lambda: 4_000_000)
    cache.put(b"k", b"reply", LATER, NOW)
    cache.close()
    if damage == "text":
        path.write_bytes(b"no database" * 1000)
    elif damage == "cut":
        os.truncate(path, 4096 + 100)
    else:
        connection = apsw.Connection(str(path))
        connection.pragma("user_version", 99)
        connection.close()
    cache = open_reply_cache(path, lambda: 4_000_000)
    cache.get(b"k", NOW)
    cache.put(b"k", b"new", LATER, NOW)
    assert wait_for(lambda: cache.get(b"k", NOW)) == b"new"
    cache.close()


def test_a_disk_that_refuses_costs_replies_and_nothing_else(tmp_path):
    cache = open_reply_cache(tmp_path / "no" / "cache.db", lambda: 4_000_000)
    cache.put(b"k", b"reply", LATER, NOW)
    assert cache.get(b"k", NOW) is None
    cache.close()


def test_only_its_owner_may_read_it(cache, path):
    cache.put(b"k", b"reply", LATER, NOW)
    wait_for(lambda: cache.get(b"k", NOW))
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_clearing_leaves_no_byte_and_no_obstacle(cache, path):
    assert clear_replies(path, NOW - 1) == 0
    for number in range(40):
        cache.put(b"%d" % number, b"MARKER-%d-" % number * 300, LATER, NOW)
    wait_for(lambda: cache.get(b"39", NOW))
    assert clear_replies(path, NOW + 5) == 40
    for file in path.parent.iterdir():
        assert b"MARKER" not in file.read_bytes(), file
    assert cache.get(b"1", NOW) is None
    cache.put(b"1", b"again", LATER, NOW + 6)
    assert wait_for(lambda: cache.get(b"1", NOW)) == b"again"


def test_a_reply_to_a_call_that_was_under_way_when_replies_were_cleared_is_not_kept(cache, path):
    clear_replies(path, NOW)
    cache.put(b"erased", b"MARKER", LATER, NOW - 1)
    cache.put(b"later", b"reply", LATER, NOW + 1)
    assert wait_for(lambda: cache.get(b"later", NOW)) == b"reply"
    assert cache.get(b"erased", NOW) is None
    for file in path.parent.iterdir():
        assert b"MARKER" not in file.read_bytes(), file
