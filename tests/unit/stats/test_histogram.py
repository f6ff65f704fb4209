import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.stats import LogHistogram

latencies = st.lists(st.floats(0.001, 1e11), max_size=50)


@given(latencies.filter(bool), st.floats(0, 1))
def test_a_quantile_is_within_nine_percent_of_the_true_one(values: list[float], q: float) -> None:
    true = sorted(values)[max(1, math.ceil(q * len(values))) - 1]
    estimate = LogHistogram(values).quantile(q)
    assert estimate is not None
    assert 1 / 1.0906 <= estimate / true <= 1.0906


@given(latencies, latencies)
def test_merging_is_counting_together(left: list[float], right: list[float]) -> None:
    merged = LogHistogram(left)
    merged.merge(LogHistogram(right))
    assert merged == LogHistogram(left + right)
    assert merged.pack() == LogHistogram(right + left).pack()
    assert merged.count == len(left) + len(right)


@given(latencies)
def test_packing_loses_nothing(values: list[float]) -> None:
    histogram = LogHistogram(values)
    assert LogHistogram.unpack(histogram.pack()) == histogram


@given(st.binary(max_size=30))
def test_unpacking_anything_gives_a_valid_histogram_or_refuses(packed: bytes) -> None:
    try:
        histogram = LogHistogram.unpack(packed)
    except ValueError:
        return
    assert LogHistogram.unpack(histogram.pack()) == histogram
    assert histogram.count >= 0


def test_values_beyond_the_ends_count_in_the_end_buckets() -> None:
    histogram = LogHistogram([-5.0, 0.0, 1e300])
    assert histogram.count == 3
    low, high = histogram.quantile(0.5), histogram.quantile(1)
    assert low is not None
    assert high is not None
    assert low < 0.0012
    assert high > 2**40


def test_nothing_counted_has_no_quantile() -> None:
    assert LogHistogram().quantile(0.5) is None
    assert LogHistogram.unpack(b"") == LogHistogram()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_finite_number_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        LogHistogram([value])


def test_other_misuse_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        LogHistogram([1.0]).quantile(95)
    with pytest.raises(ValueError, match="only grows"):
        LogHistogram().add(1.0, -1)
    with pytest.raises(TypeError):
        hash(LogHistogram())


def test_a_packed_histogram_of_one_model_is_small() -> None:
    assert len(LogHistogram([float(ms) for ms in range(200, 3000)]).pack()) < 70
