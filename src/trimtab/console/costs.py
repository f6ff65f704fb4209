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
    """For a million tokens; None where it is not known."""
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
    if price is not None and price.long is not None and closed.usage.input_tokens > price.long_over_tokens:
        price = price.long
    parts = [(name, count, rate) for name, count, rate in _split(call, price) if count]
    adds_up = price is not None and closed.cost_nusd == charge_nusd([(c, r or 0) for _, c, r in parts])
    return [
        CostPart(name, count, rate, charge_nusd([(count, rate)]))
        if adds_up and rate is not None
        else CostPart(name, count, None, None)
        for name, count, rate in parts
    ]


def _split(call: Call, price: Price | None) -> list[tuple[str, int, int | None]]:
    assert call.closed is not None
    u = call.closed.usage
    rates = {
        name: getattr(price, name) if price else None
        for name in ("input", "cached", "cache_write", "audio_input", "output", "reasoning", "audio_output")
    }
    counts = {
        "input": u.input_tokens - u.cached_tokens - u.cache_write_tokens - u.audio_input_tokens,
        "cached": u.cached_tokens,
        "cache_write": u.cache_write_tokens,
        "audio_input": u.audio_input_tokens,
        "output": u.output_tokens - u.reasoning_tokens - u.audio_output_tokens,
        "reasoning": u.reasoning_tokens,
        "audio_output": u.audio_output_tokens,
    }
    return [(name, max(0, count), rates[name]) for name, count in counts.items()]
