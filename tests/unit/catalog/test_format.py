"""A table that is wrong is refused, with the place and what to write instead."""

import pytest

from trimtab.catalog import Catalog
from trimtab.catalog.format import day_us
from trimtab.types import ConfigError

OK = {"from": "2026-01-01", "input": "1", "output": "2"}


def model(**entry):
    return {"models": {"a/b": entry}}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"format": 2}, "format 2 is not 1"),
        ({"modles": {}}, "modles"),
        ({"models": {"gpt-4o": {}}}, "must be `provider/model`"),
        ({"models": {"a/": {}}}, "must be `provider/model`"),
        ({"models": {"/b": {}}}, "must be `provider/model`"),
        (model(prices=[{**OK, "inptu": "1"}]), "inptu"),
        (model(prices=[{**OK, "input": 1.5}]), "str"),
        (model(prices=[{**OK, "input": "1,5"}]), r"prices\[0\].input: '1,5' is no price"),
        (model(prices=[{**OK, "cached": "-1"}]), r"prices\[0\].cached: '-1' is no price"),
        (model(prices=[{**OK, "cached": "sNaN"}]), r"cached: 'sNaN' is no price"),
        (model(prices=[{**OK, "reasoning": "0.0000000001"}]), "reasoning"),
        (model(prices=[{"from": "2026-01-01", "input": "1"}]), "`input` and `output` are needed"),
        (model(prices=[{"from": "2026-01-01", "output": "1"}]), "`input` and `output` are needed"),
        (model(prices=[{"input": "1", "output": "1"}]), "from"),
        (
            model(prices=[{**OK, "from": "yesterday"}]),
            r"prices\[0\].from: 'yesterday' is no day; write YYYY-MM-DD",
        ),
        (model(prices=[{**OK, "from": "2026-02-30"}]), "'2026-02-30' is no day"),
        (model(prices=[{**OK, "from": "20260101"}]), "'20260101' is no day"),
        (model(prices=[{**OK, "from": "2026-W01-1"}]), "is no day"),
        (model(prices=[OK, OK]), r"prices\[1\].from: 2026-01-01 must be later"),
        (model(prices=[OK, {**OK, "from": "2025-01-01"}]), "must be later"),
        (model(prices=[{**OK, "unknown": True}]), "can name no price"),
        (
            model(prices=[{"from": "2026-01-01", "unknown": True, "tiers": {"batch": {}}}]),
            "can name no price",
        ),
        (model(prices=[{**OK, "tiers": {"batch": {"input": "1"}}}]), "tiers.batch: `input` and `output`"),
        (model(prices=[{**OK, "tiers": {"batch": {"input": "x", "output": "1"}}}]), "tiers.batch.input"),
        (
            model(prices=[{**OK, "long_context": {"over_input_tokens": 5}}]),
            "long_context: `input` and `output`",
        ),
        (
            model(prices=[{**OK, "long_context": {"over_input_tokens": 0, "input": "1", "output": "1"}}]),
            "must be at least 1",
        ),
        (
            model(prices=[{**OK, "long_context": {"over_input_tokens": 5, "input": "?", "output": "1"}}]),
            "long_context.input",
        ),
        (model(profile={"context": 5}), "context"),
        (model(profile={"deprecation": "soon"}), "profile.deprecation: 'soon' is no day"),
        ({"providers": {"a": {"snapshots": "YYYY"}}}, "providers.a.snapshots"),
        ({"providers": {"a": {"snapshots": "-.*"}}}, "providers.a.snapshots"),
        ({"providers": {"a": {"snapshots": "-"}}}, "providers.a.snapshots"),
        (b"{", "catalog overrides"),
        (b"[]", "catalog overrides"),
        (b'\xff{"models": {}}', "catalog overrides"),
    ],
)
def test_what_is_wrong_is_named(overrides, said):
    with pytest.raises(ConfigError, match=said) as refused:
        Catalog.load(overrides)
    assert "catalog overrides" in str(refused.value)


def test_a_day_is_its_first_microsecond():
    assert day_us("1970-01-01") == 0
    assert day_us("2026-11-23") == 20_780 * 86_400_000_000
