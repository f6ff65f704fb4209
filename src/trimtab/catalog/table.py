"""The catalog: lookup of facts and prices by `provider/model`, and the sum of what a call cost."""

import hashlib
from importlib import resources
from typing import Any, NamedTuple, Self

import msgspec

from trimtab.types import TOKENS_PER_PRICE, Usage, price_nusd, round_nusd

from .format import CatalogFile, ModelEntry, PriceEntry, PriceParts, Profile, day_us, decode
from .overlay import family, lay_over, resolve_like

STANDARD_TIERS = frozenset({"default", "standard", "auto", "on_demand", "standard_only"})
"""Names under which providers report their ordinary service tier."""

RARE_PARTS = ("cache_write_1h", "image_input", "image_output", "citation", "request", "search")

RESOLVED_KEPT = 4096
"""Snapshot names remembered at most: callers choose the names, so the memory must have an end."""


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """Prices in nano-USD per million tokens, or for one request or search; every part is filled in."""

    since_us: int
    """In force from here on, in microseconds since 1970."""
    input: int
    output: int
    cached: int
    cache_write: int
    reasoning: int
    audio_input: int
    audio_output: int
    cache_write_1h: int = 0
    image_input: int = 0
    image_output: int = 0
    citation: int = 0
    request: int = 0
    search: int = 0
    rare: bool = False
    """Whether any of the parts after `audio_output` has a price of its own."""
    long_over_tokens: int = 0
    """A call with more input than this is billed by `long`."""
    long: "Price | None" = None
    tiers: dict[str, "Price"] = {}

    def charge(self, usage: Usage, tier: str = "") -> int | None:
        """Return what a usage costs, in nano-USD, rounded once; None where the tier has no known price.

        Args:
            usage: what was used.
            tier: the service tier; empty: the one that the usage names.
        """
        tier = tier or usage.tier
        price = self if not tier or tier in STANDARD_TIERS else self.tiers.get(tier)
        if price is None:
            return None
        if price.long is not None and usage.input_tokens > price.long_over_tokens:
            price = price.long
        return round_nusd(_total(usage, price))


class Cost(NamedTuple):
    """What a call cost."""

    cost_nusd: int
    price_version: str
    """The table it was computed by; empty: no price is known, and the 0 beside it means nothing."""


UNPRICED = Cost(0, "")

_Timeline = tuple[tuple[int, Price | None], ...]
"""(in force since, price), newest first; None from a moment on since when the price is not known."""


class Catalog:
    """Facts and prices of models; immutable but for a bounded memory of names already resolved."""

    __slots__ = ("_entries", "_resolved", "_shapes", "_timelines", "version")

    def __init__(self, table: CatalogFile) -> None:
        self._entries = {name: resolve_like(name, table) for name in table.models}
        self._shapes = {name: entry.snapshots for name, entry in table.providers.items() if entry.snapshots}
        self._timelines = {name: _timeline(entry) for name, entry in self._entries.items()}
        self._resolved = dict(self._timelines)
        self.version = _version(table)
        """The table's name and 8 digits of its SHA-256: the `price_version` of every cost computed here."""

    @classmethod
    def load(cls, overrides: dict[str, Any] | bytes | None = None) -> Self:
        """Return the packaged table with a user's overrides laid over it. Reads one packaged file.

        Args:
            overrides: JSON text or parsed JSON in the file's format; see docs/how-to/prices.md.

        Raises:
            ConfigError: the overrides are not in the format, or name what does not exist.
        """
        table = decode(packaged(), "packaged catalog")
        return cls(lay_over(table, decode(overrides, "catalog overrides")) if overrides else table)

    def names(self) -> list[str]:
        """Return every `provider/model` that has an entry of its own, sorted."""
        return sorted(name for name in self._entries if not name.endswith("/*"))

    def profile(self, model: str) -> Profile | None:
        """Return what is known of a model, or None where nothing is."""
        name = self._find(model)
        profile = self._entries[name].profile if name else None
        return profile if isinstance(profile, Profile) else None

    def price(self, model: str, at_us: int) -> Price | None:
        """Return the prices in force at a moment, in microseconds since 1970; None where they are not known.

        Ask with the moment at which the call opened.
        """
        timeline = self._resolved.get(model)
        if timeline is None:
            timeline = self._resolve(model)
        for since_us, price in timeline:
            if since_us <= at_us:
                return price
        return None

    def prices(self, model: str) -> tuple[tuple[int, Price | None], ...]:
        """Return all prices of a model as (in force since, price), newest first; None where it is not known."""
        return self._resolved.get(model) or self._resolve(model)

    def cost(self, model: str, usage: Usage, at_us: int, tier: str = "") -> Cost:
        """Return what a call cost at the prices in force when it opened. About a microsecond.

        Nested parts are billed once: cached, cache-write, audio and image tokens lie within `input_tokens`;
        reasoning, audio and image tokens within `output_tokens`. A part without a price of its
        own is billed at its total's.

        Args:
            model: `provider/model`.
            usage: the tokens.
            at_us: when the call opened, in microseconds since 1970.
            tier: the service tier; empty: the one that the usage names.
        """
        price = self.price(model, at_us)
        if price is None:
            return UNPRICED
        charge = price.charge(usage, tier)
        return UNPRICED if charge is None else Cost(charge, self.version)

    def _find(self, model: str) -> str:
        """Return the entry that holds for a model: its own, its family's, its provider's; or nothing."""
        if model in self._entries:
            return model
        provider = model.partition("/")[0]
        of_family = family(model, self._shapes.get(provider, ""))
        if of_family in self._entries:
            return of_family
        of_provider = f"{provider}/*"
        return of_provider if of_provider in self._entries else ""

    def _resolve(self, model: str) -> _Timeline:
        name = self._find(model)
        if not name:
            return ()  # not remembered: anybody can ask for any name
        timeline = self._timelines[name]
        if len(self._resolved) < RESOLVED_KEPT + len(self._timelines):
            self._resolved[model] = timeline
        return timeline


def packaged() -> bytes:
    """Return the packaged table as it was packed. Reads one file."""
    return (resources.files("trimtab.catalog") / "data" / "models.json").read_bytes()


def packaged_sha256() -> str:
    """Return the packaged table's SHA-256."""
    return hashlib.sha256(packaged()).hexdigest()


def _total(usage: Usage, price: Price) -> int:
    """Add a usage up in its disjoint parts, in nano-USD for a million tokens; counts below zero count as zero.

    A provider whose parts exceed their total is billed by the parts: never less than what it listed.
    """
    rest_in, rest_out, total = usage.input_tokens, usage.output_tokens, 0
    # Few calls have nested parts: each test is cheaper than a multiplication by zero.
    if (n := usage.cached_tokens) > 0:
        total += n * price.cached
        rest_in -= n
    if (n := usage.cache_write_tokens) > 0:
        total += n * price.cache_write
        rest_in -= n
    if (n := usage.audio_input_tokens) > 0:
        total += n * price.audio_input
        rest_in -= n
    if (n := usage.reasoning_tokens) > 0:
        total += n * price.reasoning
        rest_out -= n
    if (n := usage.audio_output_tokens) > 0:
        total += n * price.audio_output
        rest_out -= n
    if price.rare:
        extra, less_in, less_out = _rare(usage, price)
        total += extra
        rest_in -= less_in
        rest_out -= less_out
    if rest_in > 0:
        total += rest_in * price.input
    if rest_out > 0:
        total += rest_out * price.output
    return total


def _rare(usage: Usage, price: Price) -> tuple[int, int, int]:
    """Return what the parts cost that few models bill apart, and how many tokens that is of the input and output."""
    total = max(usage.citation_tokens, 0) * price.citation
    total += (price.request + max(usage.searches, 0) * price.search) * TOKENS_PER_PRICE
    # Billed at the price of five minutes so far.
    total += max(usage.cache_write_1h_tokens, 0) * (price.cache_write_1h - price.cache_write)
    less_in = less_out = 0
    # Pictures may lie in the cached part too: without a price of their own they must not be taken out of the rest.
    if price.image_input != price.input and usage.image_input_tokens > 0:
        less_in = usage.image_input_tokens
        total += less_in * price.image_input
    if price.image_output != price.output and usage.image_output_tokens > 0:
        less_out = usage.image_output_tokens
        total += less_out * price.image_output
    return total, less_in, less_out


def _timeline(entry: ModelEntry) -> _Timeline:
    prices = () if entry.prices is msgspec.UNSET else entry.prices
    return tuple((day_us(p.since), None if p.unknown else _compile(p)) for p in reversed(prices))


def _compile(entry: PriceEntry) -> Price:
    since_us = day_us(entry.since)
    price = _fill(entry, since_us)
    long = entry.long_context
    return msgspec.structs.replace(
        price,
        long_over_tokens=long.over_input_tokens if long else 0,
        long=_fill(long, since_us) if long else None,
        tiers={tier: _fill(parts, since_us) for tier, parts in entry.tiers.items()},
    )


def _fill(parts: PriceParts, since_us: int) -> Price:
    """Turn decimal text into nano-USD, and give each part without a price its total's."""
    assert parts.input is not None
    assert parts.output is not None
    return Price(
        since_us=since_us,
        input=price_nusd(parts.input),
        output=price_nusd(parts.output),
        cached=price_nusd(parts.cached or parts.input),
        cache_write=price_nusd(parts.cache_write or parts.input),
        reasoning=price_nusd(parts.reasoning or parts.output),
        audio_input=price_nusd(parts.audio_input or parts.input),
        audio_output=price_nusd(parts.audio_output or parts.output),
        cache_write_1h=price_nusd(parts.cache_write_1h or parts.cache_write or parts.input),
        image_input=price_nusd(parts.image_input or parts.input),
        image_output=price_nusd(parts.image_output or parts.output),
        citation=price_nusd(parts.citation or "0"),
        request=price_nusd(parts.request or "0"),
        search=price_nusd(parts.search or "0"),
        rare=any(getattr(parts, part) is not None for part in RARE_PARTS),
    )


def _version(table: CatalogFile) -> str:
    digest = hashlib.sha256(msgspec.json.encode(table, order="deterministic")).hexdigest()
    return f"{table.version}-{digest[:8]}"
