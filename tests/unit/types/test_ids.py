"""Ids: UUIDv7 by the letter of RFC 9562, ordered by time, never twice."""

import re
import threading
import time
import uuid

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trimtab.types import IdSource, id_floor, id_time_us, new_id

FORM = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
LATEST_MS = 2**48 - 1


@pytest.mark.parametrize("make", [new_id, IdSource().next], ids=["new_id", "IdSource"])
def test_an_id_is_a_uuid_of_version_7_with_the_present_time(make):
    before = time.time_ns() // 1_000_000
    made = [make() for _ in range(1000)]
    after = time.time_ns() // 1_000_000
    for one in made:
        assert FORM.fullmatch(one), one
        parsed = uuid.UUID(one)
        assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
        assert before <= id_time_us(one) // 1000 <= after
    assert len(set(made)) == 1000


@pytest.mark.parametrize("make", [new_id, IdSource().next], ids=["new_id", "IdSource"])
def test_all_random_bits_vary(make):
    """74 bits: every digit but the version takes many values, the variant's digit all four."""
    made = [make().replace("-", "") for _ in range(2000)]
    for position in range(12, 32):
        seen = {one[position] for one in made}
        assert seen == (
            {"7"} if position == 12 else set("89ab") if position == 16 else set("0123456789abcdef")
        )


@given(st.integers(0, LATEST_MS))
@example(0)
@example(LATEST_MS)
def test_the_time_inside_an_id_reads_back(ms):
    assert id_time_us(new_id(ms)) == ms * 1000


@given(st.integers(0, LATEST_MS - 1), st.integers(1, 10**9))
def test_ids_sort_by_their_time(ms, later):
    assert new_id(ms) < new_id(min(ms + later, LATEST_MS))


@given(st.integers(0, LATEST_MS), st.integers(0, 999))
def test_the_floor_is_at_most_every_id_of_its_millisecond_and_above_all_before(ms, us):
    floor = id_floor(ms * 1000 + us)
    assert uuid.UUID(floor).version == 7
    assert floor <= new_id(ms)
    assert ms == 0 or new_id(ms - 1) < floor
    assert id_time_us(floor) == ms * 1000
    assert floor == id_floor(ms * 1000)
    assert floor.endswith("-7000-8000-000000000000")


def test_ids_of_one_source_do_not_repeat_across_its_draws_of_random_bytes():
    source = IdSource()
    made = [source.next() for _ in range(5000)]
    assert len(set(made)) == 5000
    assert all(FORM.fullmatch(one) for one in made)
    assert [id_time_us(one) for one in made] == sorted(id_time_us(one) for one in made)
    assert len({one[14:] for one in made}) == 5000, "the random part itself never repeats"


def test_sources_share_nothing():
    made: list[str] = []

    def run():
        source = IdSource()
        made.extend([source.next() for _ in range(1000)])

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one[14:] for one in made}) == 4000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "0198f3c2-0000-4000-8000-000000000000",
        "0198f3c2-0000-7000-8000-00000000000",
        "0198f3c2-0000-7000-8000-0000000000000",
        "zzzzzzzz-0000-7000-8000-000000000000",
        "01a20634-0000-7000-8000-00000000000g",
        "01a20634-0000-7000-c000-000000000000",
        "01a20634000070008000000000000000",
        "01a20634-0000-7000-8000-000000000000\n",
        "01a2063\u0664-0000-7000-8000-000000000000",
    ],
)
def test_what_is_no_uuid_of_version_7_is_refused(text):
    with pytest.raises(ValueError, match="UUIDv7"):
        id_time_us(text)


def test_an_id_may_be_written_in_upper_case():
    assert id_time_us(new_id(LATEST_MS).upper()) == LATEST_MS * 1000
