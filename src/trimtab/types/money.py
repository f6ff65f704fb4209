"""Money is integer nano-USD (1 USD = 1_000_000_000): no floats between a price and a bill."""

from decimal import Decimal

NUSD_PER_USD = 1_000_000_000
TOKENS_PER_PRICE = 1_000_000
"""Prices are nano-USD for one million tokens, so that fractions of a nano-USD per token stay exact."""


def price_nusd(usd_per_million: str | Decimal) -> int:
    """Return a published price (USD per million tokens, as text) in nano-USD per million tokens.

    Raises:
        ValueError: the price is negative, not a number, or finer than a nano-USD per million tokens.

    >>> price_nusd("0.15")
    150000000
    """
    value = Decimal(usd_per_million) * NUSD_PER_USD
    if not value.is_finite() or value < 0 or value != value.to_integral_value():
        raise ValueError(f"price {usd_per_million!r} must be a non-negative decimal with at most 9 decimals")
    return int(value)


def charge_nusd(parts: list[tuple[int, int]]) -> int:
    """Return what `(tokens, nano-USD per million tokens)` parts cost together, in nano-USD.

    The exact sum is rounded once, half to even.

    >>> charge_nusd([(57, 150_000_000), (27, 600_000_000)])
    24750
    """
    return round_nusd(sum(tokens * price for tokens, price in parts))


def round_nusd(total: int) -> int:
    """Return a sum of tokens times nano-USD per million tokens in nano-USD, rounded half to even.

    >>> round_nusd(1_500_000), round_nusd(2_500_000)
    (2, 2)
    """
    whole, rest = divmod(total, TOKENS_PER_PRICE)
    half = TOKENS_PER_PRICE // 2
    return whole + (rest > half or (rest == half and whole & 1))


def usd_to_nusd(usd: float | str) -> int:
    """Return an amount in USD, as people write it, in nano-USD; what is finer is rounded half to even.

    >>> usd_to_nusd(0.1), usd_to_nusd("25")
    (100000000, 25000000000)
    """
    return int((Decimal(str(usd)) * NUSD_PER_USD).to_integral_value())


def format_usd(nusd: int) -> str:
    """Return an amount for people: at least cents, and no significant digit dropped.

    >>> format_usd(24750), format_usd(1_500_000_000), format_usd(-20)
    ('$0.00002475', '$1.50', '-$0.00000002')
    """
    sign = "-" if nusd < 0 else ""
    whole, rest = divmod(abs(nusd), NUSD_PER_USD)
    digits = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}${whole:,}.{digits}"
