"""The catalog answers by model and moment, and says when it does not know."""

import msgspec
import pytest

from trimtab.catalog import Catalog, Cost
from trimtab.catalog.format import decode
from trimtab.catalog.overlay import family
from trimtab.types import ConfigError, Usage

DAY = 86_400_000_000
NOW = 20_780 * DAY  # in November 2026


def table(models, **rest):
    return Catalog(decode({"format": 1, "version": "t", "models": models, **rest}, "test"))


def price(since="2020-01-01", **parts):
    return {"from": since, "input": "1", "output": "2", **parts}


def test_a_price_holds_from_its_day_until_the_next():
    catalog = table({"a/b": {"prices": [price("1970-01-02"), price("1970-01-04", input="3")]}})
    assert catalog.price("a/b", DAY - 1) is None
    assert catalog.price("a/b", DAY).input == 1_000_000_000
    assert catalog.price("a/b", 3 * DAY - 1).input == 1_000_000_000
    assert catalog.price("a/b", 3 * DAY).input == 3_000_000_000


def test_before_the_first_day_a_call_is_unpriced_and_says_so():
    catalog = table({"a/b": {"prices": [price("1970-01-02")]}})
    assert catalog.cost("a/b", Usage(5, 5), 0) == Cost(0, "")


def test_an_unknown_model_costs_nothing_known():
    catalog = Catalog.load()
    assert catalog.cost("nobody/nothing", Usage(100, 100), NOW) == (0, "")
    assert catalog.price("nobody/nothing", NOW) is None
    assert catalog.profile("nobody/nothing") is None


def test_a_known_price_of_zero_is_not_an_unknown_one():
    cost = Catalog.load().cost("own/any-model", Usage(1_000_000, 1_000_000), NOW)
    assert cost.cost_nusd == 0
    assert cost.price_version == Catalog.load().version != ""


def test_from_the_day_a_price_is_unknown_a_call_is_unpriced():
    catalog = table({"a/b": {"prices": [price(), {"from": "2026-01-01", "unknown": True}]}})
    assert catalog.cost("a/b", Usage(1, 1), NOW).price_version == ""
    assert catalog.cost("a/b", Usage(1, 1), NOW - 365 * DAY).price_version != ""


def test_the_same_call_costs_by_when_it_opened():
    catalog = Catalog.load()
    o3 = Usage(1_000_000, 1_000_000)
    before, after = (catalog.cost("openai/o3", o3, day * DAY).cost_nusd for day in (20_248, 20_249))
    assert (before, after) == (50_000_000_000, 10_000_000_000)  # 2025-06-09 and 2025-06-10


def test_nested_parts_without_a_price_are_billed_as_their_total():
    catalog = table({"a/b": {"prices": [price()]}})
    usage = Usage(10, 10, 4, 1, 3, audio_input_tokens=2, audio_output_tokens=5)
    assert catalog.cost("a/b", usage, NOW).cost_nusd == 10_000 + 20_000


@pytest.mark.parametrize(
    ("part", "usage"),
    [
        ("cached", Usage(10, 0, cached_tokens=10)),
        ("cache_write", Usage(10, 0, cache_write_tokens=10)),
        ("reasoning", Usage(0, 10, reasoning_tokens=10)),
        ("audio_input", Usage(10, 0, audio_input_tokens=10)),
        ("audio_output", Usage(0, 10, audio_output_tokens=10)),
    ],
)
def test_each_part_is_billed_at_its_own_price(part, usage):
    catalog = table({"a/b": {"prices": [price(**{part: "7"})]}})
    assert catalog.cost("a/b", usage, NOW).cost_nusd == 70_000
    one = Usage(*(min(count, 1) for count in msgspec.structs.astuple(usage)[:7]))
    assert catalog.cost("a/b", one, NOW).cost_nusd == 7_000


def test_a_single_token_is_billed():
    catalog = table({"a/b": {"prices": [price(cached="0.5", reasoning="4")]}})
    assert catalog.cost("a/b", Usage(1, 0), NOW).cost_nusd == 1_000
    assert catalog.cost("a/b", Usage(0, 1), NOW).cost_nusd == 2_000
    assert catalog.cost("a/b", Usage(2, 2, cached_tokens=1, reasoning_tokens=1), NOW).cost_nusd == 7_500


def test_a_part_that_is_free_is_free():
    catalog = table({"a/b": {"prices": [price(cached="0")]}})
    assert catalog.cost("a/b", Usage(10, 0, cached_tokens=10), NOW).cost_nusd == 0


def test_long_input_has_its_own_price():
    long = {"over_input_tokens": 100, "input": "10", "output": "20"}
    catalog = table({"a/b": {"prices": [price(long_context=long)]}})
    assert catalog.cost("a/b", Usage(100, 1), NOW).cost_nusd == 102_000
    assert catalog.cost("a/b", Usage(101, 1), NOW).cost_nusd == 1_030_000


def test_service_tiers():
    catalog = table({"a/b": {"prices": [price(tiers={"batch": {"input": "0.5", "output": "1"}})]}})
    usage = Usage(10, 10)
    for standard in ("", "default", "standard", "auto"):
        assert catalog.cost("a/b", usage, NOW, standard).cost_nusd == 30_000
    assert catalog.cost("a/b", usage, NOW, "batch").cost_nusd == 15_000
    assert catalog.cost("a/b", usage, NOW, "priority") == (0, "")


def test_a_dated_snapshot_is_of_its_family():
    catalog = Catalog.load()
    mini = catalog.price("openai/gpt-4o-mini", NOW)
    assert catalog.price("openai/gpt-4o-mini-2024-07-18", NOW) == mini
    assert catalog.profile("openai/gpt-4o-mini-2024-07-18") == catalog.profile("openai/gpt-4o-mini")
    assert catalog.price("anthropic/claude-sonnet-4-5-20250929", NOW) == catalog.price(
        "anthropic/claude-sonnet-4-5", NOW
    )


def test_a_snapshot_with_an_entry_of_its_own_keeps_it():
    catalog = Catalog.load()
    assert catalog.price("openai/gpt-4o-2024-05-13", NOW).input == 5_000_000_000
    assert catalog.price("openai/gpt-4o-2024-11-20", NOW).input == 2_500_000_000
    assert catalog.profile("openai/gpt-4o-2024-05-13").max_output_tokens == 4096
    assert catalog.profile("openai/gpt-4o-2024-05-13").vision is True


@pytest.mark.parametrize(
    "name",
    [
        "openai/gpt-4o-mini-2024-13-18",
        "openai/gpt-4o-mini-2024-07-32",
        "openai/gpt-4o-mini-2024-00-01",
        "openai/gpt-4o-mini-1999-07-18",
        "openai/gpt-4o-mini-2024-7-18",
        "openai/gpt-4o-mini-2024-07-18-preview",
        "openai/gpt-4o-mini2024-07-18",
        "openai/ft:gpt-4o-mini-2024-07-18:acme::x1",
        "openai/-2024-07-18",
        "-2024-07-18",
        "azure/gpt-4o-mini",
        "openai/GPT-4o-mini",
        "",
    ],
)
def test_what_is_no_snapshot_has_no_price(name):
    assert Catalog.load().price(name, NOW) is None


def test_facts_of_a_provider_are_laid_over_field_by_field():
    catalog = Catalog.load(
        {"providers": {"openai": {"source": "a contract"}, "vllm": {"snapshots": "-YYYYMMDD"}}}
    )
    assert catalog.price("openai/gpt-4o-2024-11-20", NOW) is not None
    over = {"providers": {"vllm": {"snapshots": "-YYYYMMDD"}}, "models": {"vllm/x": price_entry("4")}}
    assert Catalog.load(over).price("vllm/x-20260101", NOW).input == 4_000_000_000


def test_family_takes_other_digits_for_none():
    assert family("openai/x-٢٠٢٤-07-18", "-YYYY-MM-DD") == ""
    assert family("a/x-20250101", "-YYYYMMDD") == "a/x"
    assert family("a/x", "") == ""


def test_names_that_nobody_knows_are_not_remembered():
    catalog = Catalog.load()
    before = len(catalog._resolved)
    for i in range(10_000):
        catalog.price(f"nobody/model-{i}", NOW)
    assert len(catalog._resolved) == before


def test_names_that_resolve_are_remembered_up_to_a_bound():
    catalog = Catalog.load()
    for i in range(10_000):
        assert catalog.price(f"own/model-{i}", NOW).input == 0
    assert len(catalog._resolved) <= 4096 + len(catalog._entries)


def test_overrides_win_model_by_model():
    over = {
        "models": {"openai/gpt-4o-mini": {"prices": [price(input="9")]}, "azure/my-gpt": price_entry("0.1")}
    }
    catalog = Catalog.load(over)
    assert catalog.price("openai/gpt-4o-mini", NOW).input == 9_000_000_000
    assert catalog.profile("openai/gpt-4o-mini").context_tokens == 128_000
    assert catalog.price("openai/gpt-4o-mini-2024-07-18", NOW).input == 9_000_000_000
    assert catalog.price("azure/my-gpt", NOW).input == 100_000_000
    assert catalog.price("openai/gpt-4o", NOW) == Catalog.load().price("openai/gpt-4o", NOW)
    assert "azure/my-gpt" in catalog.names()


def price_entry(amount):
    return {"prices": [price(input=amount)]}


def test_overrides_of_facts_keep_the_others():
    catalog = Catalog.load(
        {"models": {"openai/gpt-4o": {"profile": {"tools": False, "max_output_tokens": 5}}}}
    )
    profile = catalog.profile("openai/gpt-4o")
    assert (profile.tools, profile.max_output_tokens, profile.vision) == (False, 5, True)
    assert profile.context_tokens == 128_000
    assert catalog.price("openai/gpt-4o", NOW) is not None


def test_like_takes_over_facts_and_prices():
    catalog = Catalog.load({"models": {"azure/prod-chat": {"like": "openai/gpt-4o-mini"}}})
    usage = Usage(1000, 500, cached_tokens=200)
    assert catalog.cost("azure/prod-chat", usage, NOW) == catalog.cost("openai/gpt-4o-mini", usage, NOW)
    assert catalog.profile("azure/prod-chat").tools is True


def test_like_with_prices_of_its_own():
    entry = {"like": "openai/gpt-4o-mini", "prices": [price()]}
    catalog = Catalog.load({"models": {"azure/eu": entry}})
    assert catalog.price("azure/eu", NOW).input == 1_000_000_000
    assert catalog.profile("azure/eu").context_tokens == 128_000


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ({"a/x": {"like": "a/none"}}, "'a/none', which has no entry"),
        ({"a/x": {"like": "a/y"}, "a/y": {"like": "openai/gpt-4o"}}, "itself like 'openai/gpt-4o'"),
        ({"a/x": {"like": "a/x"}}, "itself like"),
    ],
)
def test_like_that_leads_nowhere_is_refused(models, said):
    with pytest.raises(ConfigError, match=said):
        Catalog.load({"models": models})


def test_a_provider_wide_entry_yields_to_a_model_of_its_own():
    catalog = table({"p/*": {"prices": [price(input="0", output="0")]}, "p/big": {"prices": [price()]}})
    assert catalog.price("p/small", NOW).input == 0
    assert catalog.price("p/big", NOW).input == 1_000_000_000
    assert catalog.names() == ["p/big"]
    assert catalog.price("q/small", NOW) is None


def test_the_version_names_the_table_and_changes_with_it():
    plain, same = Catalog.load(), Catalog.load({})
    other = Catalog.load({"models": {"openai/gpt-4o": {"prices": [price()]}}})
    named = Catalog.load({"version": "acme-7"})
    assert plain.version == same.version == Catalog.load(None).version
    assert len({plain.version, other.version, named.version}) == 3
    assert named.version.startswith("acme-7-")
    day, digest = plain.version.rsplit("-", 1)
    assert len(digest) == 8
    assert day == "2026-11-23"


def test_overrides_may_be_json_text():
    text = b'{"models": {"a/b": {"prices": [{"from": "2020-01-01", "input": "1", "output": "2"}]}}}'
    assert Catalog.load(text).price("a/b", NOW).output == 2_000_000_000
