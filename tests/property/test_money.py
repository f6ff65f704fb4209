"""Money is exact: no price and no sum of parts is off by a nano-dollar, whatever the numbers."""

from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trimtab.catalog import Catalog, Price
from trimtab.types import Usage, charge_nusd, format_usd, price_nusd

MILLION, BILLION = 10**6, 10**9

tokens = st.integers(0, 10**10)
prices = st.integers(0, 10**13)
parts = st.lists(st.tuples(tokens, prices), max_size=8)


def exact(pairs: list[tuple[int, int]]) -> int:
    """The same sum by rational numbers, rounded by the standard's own rule."""
    return round(sum((Fraction(n * price, MILLION) for n, price in pairs), Fraction(0)))


@given(parts)
def test_a_charge_is_the_exact_sum_rounded_once(pairs):
    assert charge_nusd(pairs) == exact(pairs)


@given(parts)
def test_a_charge_is_an_int_and_does_not_depend_on_order(pairs):
    charge = charge_nusd(pairs)
    assert type(charge) is int
    assert charge == charge_nusd(pairs[::-1]) == charge_nusd(sorted(pairs))


@given(parts, parts)
def test_splitting_a_bill_moves_it_by_half_a_nano_dollar_a_piece_at_most(one, other):
    assert abs(charge_nusd(one) + charge_nusd(other) - charge_nusd(one + other)) <= 1


@given(st.integers(0, 10**9))
@example(0)
@example(1)
@example(2)
@example(3)
def test_half_a_nano_dollar_goes_to_the_even_side(whole):
    half = [(1, whole * MILLION + MILLION // 2)]
    assert charge_nusd(half) == whole + whole % 2
    assert charge_nusd([(1, half[0][1] - 1)]) == whole
    assert charge_nusd([(1, half[0][1] + 1)]) == whole + 1


def test_charges_known_by_hand():
    assert charge_nusd([]) == 0
    assert charge_nusd([(0, 5 * BILLION)]) == 0
    assert charge_nusd([(1, MILLION)]) == 1
    assert charge_nusd([(1, MILLION - 1)]) == 1
    assert charge_nusd([(1, 499_999)]) == 0
    assert charge_nusd([(57, 150_000_000), (27, 600_000_000)]) == 24_750
    assert charge_nusd([(1_000_000, 2_500_000_000)]) == 2_500_000_000


@given(st.decimals(min_value=0, max_value=10**6, places=9, allow_nan=False, allow_infinity=False))
def test_a_price_is_its_decimal_times_a_billion(price):
    assert price_nusd(str(price)) == int(price * BILLION)
    assert price_nusd(price) == price_nusd(str(price))


@given(st.integers(0, 10**18))
def test_a_price_written_out_reads_back(nusd):
    assert price_nusd(format(Decimal(nusd) / BILLION, "f")) == nusd


@pytest.mark.parametrize(
    ("text", "nusd"),
    [("0", 0), ("0.15", 150_000_000), ("2.50", 2_500_000_000), ("1e-9", 1), ("0.000000001", 1), ("-0", 0)],
)
def test_prices_known_by_hand(text, nusd):
    assert price_nusd(text) == nusd
    assert type(price_nusd(text)) is int


@pytest.mark.parametrize(
    "text", ["-0.01", "-1", "-1e-9", "0.0000000001", "1.0000000005", "NaN", "sNaN", "Infinity"]
)
def test_a_price_that_is_none_is_refused(text):
    with pytest.raises((ValueError, ArithmeticError)):
        price_nusd(text)


@pytest.mark.parametrize("text", ["-1", "0.0000000001", "NaN"])
def test_the_refusal_says_what_was_given(text):
    with pytest.raises(ValueError, match=r"non-negative decimal with at most 9 decimals") as refused:
        price_nusd(text)
    assert repr(text) in str(refused.value)


@given(st.integers(-(10**15), 10**15))
@example(-1)
@example(1)
@example(BILLION)
@example(-BILLION)
@example(10 * MILLION)
def test_an_amount_shown_reads_back_exactly(nusd):
    shown = format_usd(nusd)
    assert shown.startswith("-$" if nusd < 0 else "$")
    text = shown.replace("$", "").replace(",", "")
    assert Decimal(text) * BILLION == nusd
    cents = text.split(".")[1]
    assert 2 <= len(cents) <= 9
    assert len(cents) == 2 or not cents.endswith("0")


def test_amounts_known_by_hand():
    assert format_usd(0) == "$0.00"
    assert format_usd(24_750) == "$0.00002475"
    assert format_usd(1_500_000_000) == "$1.50"
    assert format_usd(-20) == "-$0.00000002"
    assert format_usd(1_234_567_000_000_000) == "$1,234,567.00"


counts = st.integers(0, 3_000_000)
nano = st.integers(0, 200 * BILLION)


@st.composite
def usages(draw):
    cached, write, audio_in = draw(counts), draw(counts), draw(counts)
    reasoning, audio_out = draw(counts), draw(counts)
    return Usage(
        input_tokens=cached + write + audio_in + draw(counts),
        output_tokens=reasoning + audio_out + draw(counts),
        cached_tokens=cached,
        cache_write_tokens=write,
        reasoning_tokens=reasoning,
        audio_input_tokens=audio_in,
        audio_output_tokens=audio_out,
    )


some_price = st.builds(
    Price,
    since_us=st.just(0),
    input=nano,
    output=nano,
    cached=nano,
    cache_write=nano,
    reasoning=nano,
    audio_input=nano,
    audio_output=nano,
)


def by_hand(usage: Usage, price: Price) -> int:
    rest_in = usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens - usage.audio_input_tokens
    rest_out = usage.output_tokens - usage.reasoning_tokens - usage.audio_output_tokens
    with localcontext() as context:
        context.prec = 60
        total = (
            Decimal(rest_in) * price.input
            + Decimal(usage.cached_tokens) * price.cached
            + Decimal(usage.cache_write_tokens) * price.cache_write
            + Decimal(usage.audio_input_tokens) * price.audio_input
            + Decimal(rest_out) * price.output
            + Decimal(usage.reasoning_tokens) * price.reasoning
            + Decimal(usage.audio_output_tokens) * price.audio_output
        )
        return int((total / MILLION).quantize(Decimal(1), ROUND_HALF_EVEN))


@given(usages(), some_price)
def test_each_token_is_billed_once_at_the_price_of_its_part(usage, price):
    assert price.charge(usage) == by_hand(usage, price)


@given(usages(), nano, nano)
def test_with_one_price_for_all_parts_the_nesting_does_not_matter(usage, inputs, outputs):
    flat = Price(
        since_us=0,
        input=inputs,
        output=outputs,
        cached=inputs,
        cache_write=inputs,
        reasoning=outputs,
        audio_input=inputs,
        audio_output=outputs,
    )
    assert flat.charge(usage) == charge_nusd([(usage.input_tokens, inputs), (usage.output_tokens, outputs)])


@given(usages(), some_price, st.integers(1, 10**6))
def test_parts_beyond_their_total_are_billed_as_listed(usage, price, less):
    """Some providers count cached or reasoning tokens beside the total instead of within it."""
    outside = Usage(*usage.__class__.__struct_defaults__)
    outside = Usage(
        input_tokens=max(usage.cached_tokens - less, 0),
        output_tokens=max(usage.reasoning_tokens - less, 0),
        cached_tokens=usage.cached_tokens,
        reasoning_tokens=usage.reasoning_tokens,
    )
    listed = charge_nusd([(usage.cached_tokens, price.cached), (usage.reasoning_tokens, price.reasoning)])
    assert price.charge(outside) == listed


@given(st.integers(-(10**6), -1), some_price)
def test_a_count_below_zero_bills_nothing_and_pays_nothing_back(count, price):
    everything = Usage(count, count, count, count, count, count, count)
    assert price.charge(everything) == 0
    one = Usage(input_tokens=10, output_tokens=10, cached_tokens=count, reasoning_tokens=count)
    assert price.charge(one) == price.charge(Usage(10, 10))


@given(st.integers(0, 10**6), st.integers(1, 10**6), some_price, some_price)
def test_the_long_price_holds_only_above_its_step(tokens_in, step, price, long):
    import msgspec

    both = msgspec.structs.replace(price, long=long, long_over_tokens=step)
    usage = Usage(tokens_in, 7, cached_tokens=tokens_in // 2)
    assert both.charge(usage) == (long if tokens_in > step else price).charge(usage)
    assert both.charge(Usage(step, 7)) == price.charge(Usage(step, 7))
    assert both.charge(Usage(step + 1, 7)) == long.charge(Usage(step + 1, 7))


@given(
    usages(), st.sampled_from(["openai/gpt-4o-mini", "anthropic/claude-haiku-4-5", "google/gemini-2.5-pro"])
)
def test_the_catalog_charges_what_its_price_says(usage, model):
    catalog = Catalog.load()
    at = 1_795_000_000_000_000
    price = catalog.price(model, at)
    assert price is not None
    assert catalog.cost(model, usage, at) == (price.charge(usage), catalog.version)
