"""The packaged table keeps the promises that its numbers stand on."""

import json
import re
from importlib import resources
from pathlib import Path

import pytest

from trimtab.catalog import Catalog, PriceEntry
from trimtab.catalog.format import decode

RAW = (resources.files("trimtab.catalog") / "data" / "models.json").read_bytes()
TABLE = decode(RAW, "packaged")
PRICED = [
    (name, price)
    for name, entry in TABLE.models.items()
    if not isinstance(entry.prices, type(entry.like)) and entry.prices
    for price in entry.prices
]


def test_the_table_says_when_and_from_where():
    assert TABLE.version == max(TABLE.version, *(p.checked for p in TABLE.providers.values()))
    for name in TABLE.models:
        provider = TABLE.providers[name.partition("/")[0]]
        assert provider.source
        assert provider.checked or name == "own/*"


def test_no_name_stands_twice():
    def once(pairs):
        names = [name for name, _ in pairs]
        assert len(names) == len(set(names)), names
        return dict(pairs)

    json.loads(RAW, object_pairs_hook=once)


@pytest.mark.parametrize(("name", "price"), PRICED, ids=lambda v: v if isinstance(v, str) else v.since)
def test_prices_are_plausible(name: str, price: PriceEntry):
    """Catches a slipped decimal point: all list prices known lie within these bounds."""
    if price.unknown or name == "own/*":
        return
    sets = [price, *price.tiers.values(), *([price.long_context] if price.long_context else [])]
    for parts in sets:
        inputs, outputs = float(parts.input), float(parts.output)
        assert 0.005 <= inputs <= 150
        assert outputs == 0 or 1 <= outputs / inputs <= 10
        if parts.cached:
            assert 0.02 <= float(parts.cached) / inputs <= 0.5
        if parts.cache_write:
            assert 1 < float(parts.cache_write) / inputs <= 2
    for tier in price.tiers.values():
        assert float(tier.input) == pytest.approx(float(price.input) / 2)


@pytest.mark.parametrize("name", ["openai/gpt-4o", "openai/gpt-4.1-mini", "openai/text-embedding-3-small"])
def test_well_known_models_are_priced_today(name):
    assert Catalog.load().price(name, 1_795_400_000_000_000) is not None


def test_prices_read_off_the_vendors_pages():
    catalog = Catalog.load()
    at = 1_795_400_000_000_000
    for name, inputs, cached, outputs in [
        ("openai/gpt-4o-mini", 150, 75, 600),
        ("openai/gpt-5", 1250, 125, 10_000),
        ("anthropic/claude-opus-5", 5000, 500, 25_000),
        ("anthropic/claude-sonnet-4-5", 3000, 300, 15_000),
        ("google/gemini-2.5-pro", 1250, 125, 10_000),
    ]:
        price = catalog.price(name, at)
        assert (price.input, price.cached, price.output) == tuple(
            v * 1_000_000 for v in (inputs, cached, outputs)
        ), name


def test_every_profile_that_serves_chat_streams():
    catalog = Catalog.load()
    for name in catalog.names():
        profile = catalog.profile(name)
        assert profile is not None, name
        assert profile.streaming is not profile.embeddings, name


def test_the_tables_in_the_how_to_are_good():
    page = (Path(__file__).parents[3] / "docs/how-to/prices.md").read_text()
    examples = re.findall(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        Catalog.load(example.encode())
    catalog = Catalog.load(examples[0].encode())
    assert catalog.price("azure/prod-chat", 1_795_400_000_000_000).input == 2_500_000_000
    assert catalog.price("vllm/anything", 1_795_400_000_000_000).input == 0
