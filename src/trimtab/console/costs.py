"""What a call cost, part by part: the split of a sum that was computed when the call ended."""

from dataclasses import dataclass

from trimtab.catalog import Catalog, Price
from trimtab.types import Call, charge_nusd


@dataclass(frozen=True)
class CostPart:
    """Tokens of one kind."""

    name: str
    tokens: int
    rate_nusd: int | None
    """For a million tokens, or for one request or search; None where it is not known."""
    nusd: int | None


def cost_parts(call: Call, catalog: Catalog) -> list[CostPart]:
    """Return the disjoint parts of a call's usage, with money where the prices of then give the recorded sum.

    Where they do not (another table was in force, a service tier, a price by length), the parts have tokens only:
    a split that does not add up would be worse than none.
    """
    closed = call.closed
    if closed is None:
        return []
    price = catalog.price(closed.model, call.opened.opened_us) if closed.price_version else None
    if price is not None and closed.usage.tier:
        price = price.tiers.get(closed.usage.tier, price)
    if price is not None and price.long is not None and closed.usage.input_tokens > price.long_over_tokens:
        price = price.long
    parts = [(name, count, rate) for name, count, rate in _split(call, price) if count]
    sums = {
        name: rate * count if name in _EACH else charge_nusd([(count, rate)]) for name, count, rate in parts
    }
    adds_up = price is not None and closed.cost_nusd == price.charge(closed.usage)
    return [
        CostPart(name, count, rate, sums[name]) if adds_up else CostPart(name, count, None, None)
        for name, count, rate in parts
    ]


_EACH = frozenset({"request", "search"})
"""Parts that are billed one by one, not by the million."""


def _split(call: Call, price: Price | None) -> list[tuple[str, int, int]]:
    assert call.closed is not None
    u = call.closed.usage
    pictures_in = u.image_input_tokens if price and price.image_input != price.input else 0
    pictures_out = u.image_output_tokens if price and price.image_output != price.output else 0
    counts = {
        "input": u.input_tokens - u.cached_tokens - u.cache_write_tokens - u.audio_input_tokens - pictures_in,
        "cached": u.cached_tokens,
        "cache_write": u.cache_write_tokens - u.cache_write_1h_tokens,
        "cache_write_1h": u.cache_write_1h_tokens,
        "audio_input": u.audio_input_tokens,
        "image_input": pictures_in,
        "output": u.output_tokens - u.reasoning_tokens - u.audio_output_tokens - pictures_out,
        "reasoning": u.reasoning_tokens,
        "audio_output": u.audio_output_tokens,
        "image_output": pictures_out,
        "citation": u.citation_tokens,
        "search": u.searches,
        "request": 1 if price and price.request else 0,
    }
    return [(name, max(0, count), getattr(price, name) if price else 0) for name, count in counts.items()]
