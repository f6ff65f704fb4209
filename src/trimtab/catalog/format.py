"""The catalog file: its shape, and every check that a table must pass before a price is taken from it."""

import datetime
from typing import Any

import msgspec

from trimtab.types import ConfigError, price_nusd

CATALOG_FORMAT = 1

DAY_US = 86_400_000_000
"""Microseconds in a day."""

PRICE_PARTS = (
    "input", "output", "cached", "cache_write", "cache_write_1h", "reasoning", "audio_input", "audio_output",
    "image_input", "image_output", "citation", "request", "search",
)  # fmt: skip


class PriceParts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """USD per million tokens, as decimal text; None: billed at the price of the part it lies within, if it is in one.

    `request` and `search` are USD each.
    """

    input: str | None = None
    output: str | None = None
    cached: str | None = None
    """Input read from the provider's prompt cache."""
    cache_write: str | None = None
    """Input written into the provider's prompt cache."""
    cache_write_1h: str | None = None
    """The same where it is kept for an hour instead of five minutes; None: as `cache_write`."""
    reasoning: str | None = None
    audio_input: str | None = None
    audio_output: str | None = None
    image_input: str | None = None
    image_output: str | None = None
    citation: str | None = None
    """Text that the provider fetched itself, beside the input; None: not billed."""
    request: str | None = None
    """Of one call, whatever its tokens; None: nothing."""
    search: str | None = None
    """Of one search of the web; None: nothing."""


class LongContext(PriceParts, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prices of a whole call whose input is longer than `over_input_tokens`."""

    over_input_tokens: int


class PriceEntry(PriceParts, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"since": "from"}):
    """Prices in force from a day on, until the next entry's day."""

    since: str
    """YYYY-MM-DD, UTC; `from` in the file."""
    unknown: bool = False
    """True: from this day on we do not know the price."""
    long_context: LongContext | None = None
    tiers: dict[str, PriceParts] = {}
    """Prices of other service tiers (`batch`, `flex`, ...), by the provider's name for the tier."""


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model can do. 0, None and empty text mean: not known."""

    context_tokens: int = 0
    """Most tokens of input and output together."""
    max_output_tokens: int = 0
    tools: bool | None = None
    json_schema: bool | None = None
    """Whether it can be held to a JSON schema."""
    vision: bool | None = None
    streaming: bool | None = None
    logprobs: bool | None = None
    reasoning: bool | None = None
    """Whether it bills tokens that it thinks with."""
    embeddings: bool | None = None
    """Whether it serves embeddings rather than chat."""
    deprecation: str = ""
    """Day (YYYY-MM-DD) on which the provider stops serving it, as announced; empty: none announced."""


class ModelEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model's part of the file. Fields left out keep what an earlier table, or `like`, says."""

    like: str = ""
    """`provider/model` whose facts and prices hold here too, where this entry says nothing else."""
    profile: Profile | msgspec.UnsetType = msgspec.UNSET
    prices: tuple[PriceEntry, ...] | msgspec.UnsetType = msgspec.UNSET
    """In time order; an override's list replaces the whole packaged one."""


class ProviderEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds for all models of a provider."""

    source: str = ""
    """The page that the prices were read from."""
    checked: str = ""
    """The day they were compared with that page, or with a dated reading of it."""
    snapshots: str = ""
    """Ending of a dated snapshot's name, such as `-YYYY-MM-DD`: without it, the name is the family's."""


class CatalogFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole table: the packaged one, or a user's overrides in the same format."""

    format: int = CATALOG_FORMAT
    version: str = ""
    """The table's name in `price_version`: its date."""
    note: str = ""
    providers: dict[str, ProviderEntry] = {}
    models: dict[str, ModelEntry] = {}
    """`provider/model` → facts; `provider/*` holds for every model of it without an entry of its own."""


def decode(raw: bytes | dict[str, Any], name: str) -> CatalogFile:
    """Return a checked table.

    Args:
        raw: JSON text, or the same already parsed.
        name: what to call the table in errors.

    Raises:
        ConfigError: it is not in the format; the message names the place.
    """
    try:
        if isinstance(raw, dict):
            table = msgspec.convert(raw, CatalogFile)
        else:
            table = msgspec.json.decode(raw, type=CatalogFile)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise ConfigError(f"{name}: {error}; see docs/how-to/prices.md for the format") from None
    if table.format != CATALOG_FORMAT:
        raise ConfigError(
            f"{name}: format {table.format} is not {CATALOG_FORMAT}, the one this version reads;"
            " write the table in that format, or update Trimtab"
        )
    for key, provider in table.providers.items():
        _check_snapshots(provider.snapshots, f"{name}: providers.{key}.snapshots")
    for model, entry in table.models.items():
        _check_model(model, entry, f"{name}: models[{model!r}]")
    return table


def day_us(day: str) -> int:
    """Return the start of a day (YYYY-MM-DD, UTC) in microseconds since 1970.

    Raises:
        ValueError: it is no such day.

    >>> day_us("1970-01-02")
    86400000000
    """
    try:
        date: datetime.date | None = datetime.date.fromisoformat(day)
    except ValueError:
        date = None
    if date is None or date.isoformat() != day:  # Python reads other ISO forms too
        raise ValueError(f"{day!r} is no day; write YYYY-MM-DD")
    return (date - datetime.date(1970, 1, 1)).days * DAY_US


def _check_model(model: str, entry: ModelEntry, where: str) -> None:
    provider, _, name = model.partition("/")
    if not provider or not name:
        raise ConfigError(
            f"{where}: the name must be `provider/model`, or `provider/*` for all of a provider"
        )
    if isinstance(entry.profile, Profile) and entry.profile.deprecation:
        _checked_day(entry.profile.deprecation, f"{where}.profile.deprecation")
    last = None
    for i, price in enumerate(() if entry.prices is msgspec.UNSET else entry.prices):
        at = _checked_day(price.since, f"{where}.prices[{i}].from")
        if last is not None and at <= last:
            raise ConfigError(
                f"{where}.prices[{i}].from: {price.since} must be later than the entry before it"
            )
        last = at
        _check_price(price, f"{where}.prices[{i}]")


def _check_price(price: PriceEntry, where: str) -> None:
    _check_parts(price, where)
    if price.unknown:
        if price.tiers or price.long_context or any(getattr(price, part) is not None for part in PRICE_PARTS):
            raise ConfigError(f"{where}: an entry with `unknown` can name no price; leave out one of the two")
        return
    if price.input is None or price.output is None:
        raise ConfigError(f'{where}: `input` and `output` are needed; write "0" for what is free')
    if price.long_context is not None:
        _check_parts(price.long_context, f"{where}.long_context")
        if price.long_context.over_input_tokens <= 0:
            raise ConfigError(f"{where}.long_context.over_input_tokens: must be at least 1")
        if price.long_context.input is None or price.long_context.output is None:
            raise ConfigError(f"{where}.long_context: `input` and `output` are needed")
    for tier, parts in price.tiers.items():
        _check_parts(parts, f"{where}.tiers.{tier}")
        if parts.input is None or parts.output is None:
            raise ConfigError(f"{where}.tiers.{tier}: `input` and `output` are needed")


def _check_parts(parts: PriceParts, where: str) -> None:
    for part in PRICE_PARTS:
        text = getattr(parts, part)
        if text is None:
            continue
        try:
            price_nusd(text)
        except (ValueError, ArithmeticError):
            raise ConfigError(
                f'{where}.{part}: {text!r} is no price; write an amount in USD as text, such as "0.15"'
            ) from None


def _check_snapshots(shape: str, where: str) -> None:
    if shape and (not shape.startswith("-") or set(shape) - set("-YMD") or len(shape) < 3):
        raise ConfigError(f"{where}: {shape!r} must be like `-YYYY-MM-DD` or `-YYYYMMDD`")


def _checked_day(day: str, where: str) -> int:
    try:
        return day_us(day)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None
