import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.storage import days
from trimtab.types import StorageError, id_time_us, new_id

milliseconds = st.integers(0, 4_102_444_800_000)


@given(milliseconds)
def test_an_id_is_its_sixteen_bytes(ms: int) -> None:
    call_id = new_id(ms)
    blob = days.id_blob(call_id)
    assert days.id_text(blob) == call_id
    assert days.id_ms(blob) * 1000 == id_time_us(call_id)


@given(milliseconds, milliseconds)
def test_within_a_day_places_follow_ids(left: int, right: int) -> None:
    day = left - left % days.MS_PER_DAY
    first, second = sorted(days.id_blob(new_id(day + ms % days.MS_PER_DAY)) for ms in (left, right))
    assert days.place_of(first) <= days.place_of(second) < 1 << 47
    assert days.place_floor(days.id_ms(first)) <= days.place_of(first)


@given(st.integers(0, 40_000), st.integers(1, 99))
def test_file_names_go_there_and_back(day: int, part: int) -> None:
    name = days.file_name(day, part)
    assert days.parse_file_name(name) == (day, part)
    assert days.day_number(days.day_name(day)) == day


def test_names_of_files() -> None:
    assert days.file_name(20_718, 1) == "calls-20260922.db"
    assert days.file_name(20_718, 2) == "calls-20260922-2.db"


@pytest.mark.parametrize(
    "name",
    ["app.db", "calls-20260922.db-wal", "calls-20260922.new", "calls-20261399.db", "calls-2026092.db",
     "calls-٢٠٢٦٠٩٢٢.db", "calls-20260922-0.db", "xcalls-20260922.db"],
)  # fmt: skip
def test_other_files_are_none_of_ours(name: str) -> None:
    assert days.parse_file_name(name) is None


@pytest.mark.parametrize("day", ["", "2026-09-22", "20260931", "yesterday", "2026092", "٢٠٢٦٠٩٢٢"])
def test_a_day_that_is_none_is_refused(day: str) -> None:
    with pytest.raises(StorageError, match="expected YYYYMMDD"):
        days.day_number(day)


@pytest.mark.parametrize(
    "call_id",
    [
        "",
        "x",
        "0198f3c2-0000-4000-8000-000000000000",
        "0198f3c2",
        "00000000-0000-7515-8117-e0123bae09d",
        "ffffffff-ffff-7fff-bfff-ffffffffffff",
    ],
)
def test_an_id_without_a_day_is_refused(call_id: str) -> None:
    with pytest.raises(ValueError, match="no UUIDv7"):
        days.id_blob(call_id)
