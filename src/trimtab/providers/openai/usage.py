"""What `usage` lists, read into billed parts: one table of fields, and rules for what lies within what.

Providers that speak this dialect agree on `prompt_tokens` and `completion_tokens`, and on little else. `FIELDS` names
each field that one of them documents; who writes which, with the page that says so, stands in tests/usage/*.json.
Where the figures alone do not tell whether a part is within a total or beside it, these rules hold, and a provider's
option `usage` overrides them (docs/how-to/prices.md):

- reasoning is within the output, unless `total_tokens` only comes out with it added, or it is larger than the output;
- cached tokens under Anthropic's names (`cache_read_input_tokens`, `cache_creation_input_tokens`) are within the
  input, unless `total_tokens` only comes out with them added, or they are larger than the input, or the input bears
  Anthropic's name too (`input_tokens`, which it defines as the rest);
- what `total_tokens` has beyond all that was thought with and not listed, and is billed as output.
"""

from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec

from trimtab.types import NUSD_PER_USD, Usage

MOST_TOKENS = 10**12
"""A count above it is a provider's mistake (an underflow, say), and worth as much as none."""

TICKS_PER_USD = 10**10
"""Unit of `cost_in_usd_ticks` (docs.x.ai, API reference)."""

Place = Literal["auto", "inside", "outside"]

Fields = dict[str, "str | Fields"]
"""Name in the JSON → part it is, or what stands in the object there; under "" what it is where it is no object."""

_IN: Fields = {
    "cached_tokens": "cached",
    "cache_write_tokens": "cache_write",
    "cache_creation_tokens": "cache_write",
    "cache_creation_input_tokens": "cache_write",
    "cache_creation": {
        "cache_creation_input_tokens": "cache_write",
        "ephemeral_5m_input_tokens": "cache_write_5m",
        "ephemeral_1h_input_tokens": "cache_write_1h",
    },
    "cache_write_details": {"write_5m_tokens": "cache_write_5m", "write_1h_tokens": "cache_write_1h"},
    "audio_tokens": "audio_input",
    "image_tokens": "image_input",
}
_OUT: Fields = {
    "reasoning_tokens": "reasoning",
    "thinking_tokens": "reasoning",
    "audio_tokens": "audio_output",
    "image_tokens": "image_output",
}
FIELDS: Fields = {
    "prompt_tokens": "input",
    "completion_tokens": "output",
    "total_tokens": "total",
    "prompt_tokens_details": _IN,
    "completion_tokens_details": _OUT,
    "input_tokens": "rest_input",
    "output_tokens": "output",
    "input_tokens_details": _IN,
    "output_tokens_details": _OUT,
    "prompt_cache_hit_tokens": "cached",
    "cached_tokens": "cached",
    "cache_read_input_tokens": "beside_cached",
    "cache_creation_input_tokens": "beside_write",
    "cache_creation": _IN["cache_creation"],
    "reasoning_tokens": "reasoning",
    "citation_tokens": "citation",
    "num_search_queries": "searches",
    "billed_units": {"input_tokens": "billed_input", "output_tokens": "billed_output"},
    "service_tier": "tier",
    "search_context_size": "tier",
    "cost": {"": "cost", "total_cost": "cost"},
    "cost_in_usd_ticks": "cost_ticks",
    "cost_details": {"upstream_inference_cost": "own_key_cost"},
    "is_byok": "own_key",
}
"""Of several names for one part the largest figure counts: they say the same, and some say nothing."""

TIMINGS: Fields = {"prompt_n": "input", "cache_n": "beside_cached", "predicted_n": "output"}
"""`timings` of llama.cpp's server, where it sends no `usage`; `cache_n` is beside `prompt_n`."""

ORDINARY_TIERS = frozenset({"", "default", "auto"})
"""Tiers that need no saying; other names for the ordinary one are the catalog's business."""


class Nesting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one provider's figures lie within each other: its option `usage`."""

    reasoning: Place = "auto"
    """Whether reasoning tokens are inside the output tokens."""
    cache: Place = "auto"
    """Whether cached tokens under Anthropic's names are inside the input tokens."""
    total: Literal["auto", "ignore"] = "auto"
    """`ignore`: what `total_tokens` has beyond the parts means nothing."""
    tier: str = ""
    """Service tier that all calls are billed by, whatever the replies say, such as `batch`."""


ORDINARY = Nesting()


Count = Annotated[int, msgspec.Meta(ge=0, le=MOST_TOKENS)]


class PromptDetails(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`usage.prompt_tokens_details`, as most write it."""

    cached_tokens: Count = 0
    audio_tokens: Count = 0
    cache_write_tokens: Count = 0
    image_tokens: Count = 0
    text_tokens: Count = 0


class CompletionDetails(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`usage.completion_tokens_details`, as most write it."""

    reasoning_tokens: Count = 0
    audio_tokens: Count = 0
    accepted_prediction_tokens: Count = 0
    rejected_prediction_tokens: Count = 0
    image_tokens: Count = 0
    text_tokens: Count = 0


class UsageWire(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`usage` as most write it: read in a tenth of the time that the table takes. Any other shape is no such object.

    Predictions that were rejected are inside `completion_tokens`, and billed like the rest.
    """

    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None

    def parts(self) -> Usage | None:
        """Return the billed parts; None where they do not add up in the usual way."""
        read, wrote = self.prompt_tokens, self.completion_tokens
        if not 0 < read + wrote == self.total_tokens:
            return None
        prompt, completion = self.prompt_tokens_details, self.completion_tokens_details
        if prompt is None and completion is None:
            return Usage(read, wrote)
        prompt, completion = prompt or _NO_PROMPT, completion or _NO_COMPLETION
        if completion.reasoning_tokens > wrote:
            return None
        usage = (
            read, wrote, prompt.cached_tokens, prompt.cache_write_tokens, completion.reasoning_tokens,
            prompt.audio_tokens, completion.audio_tokens,
        )  # fmt: skip
        if prompt.image_tokens or completion.image_tokens:
            return Usage(
                *usage, image_input_tokens=prompt.image_tokens, image_output_tokens=completion.image_tokens
            )
        return Usage(*usage)


_NO_PROMPT, _NO_COMPLETION = PromptDetails(), CompletionDetails()


def read_usage(raw: Any, tier: Any = None, nesting: Nesting = ORDINARY) -> Usage | None:  # noqa: ANN401 - JSON
    """Return the billed parts of a `usage` object; None where there are none, or only zeros or nonsense.

    Args:
        raw: a `UsageWire`, or the object decoded; anything else counts as none.
        tier: `service_tier` of the reply it came with.
        nesting: the provider's rules.
    """
    if type(raw) is UsageWire:
        if nesting is ORDINARY and (tier is None or tier == "default") and (usage := raw.parts()) is not None:
            return usage
        raw = msgspec.to_builtins(raw)
    return _read(raw, FIELDS, tier, nesting) if type(raw) is dict else None


def read_timings(raw: Any) -> Usage | None:  # noqa: ANN401 - JSON
    """Return the tokens that llama.cpp's `timings` count, or None."""
    return _read(raw, TIMINGS, None, Nesting(cache="outside")) if type(raw) is dict else None


def _read(raw: dict[str, Any], fields: Fields, tier: Any, nesting: Nesting) -> Usage | None:  # noqa: ANN401
    found: dict[str, Any] = {}
    _collect(raw, fields, found)
    if not _whole(found):
        return None
    usage = _nested(found, nesting)
    said = nesting.tier or found.get("tier") or tier
    if type(said) is str and said.lower() not in ORDINARY_TIERS:
        usage = msgspec.structs.replace(usage, tier=said[:40].lower())
    cost = _cost(found)
    if cost is not None:
        usage = msgspec.structs.replace(usage, reported_cost_nusd=cost)
    return usage if usage.known else None


def _collect(node: dict[str, Any], fields: Fields, found: dict[str, Any]) -> None:
    """Note each figure under the part that the table says."""
    for name, value in node.items():
        part = fields.get(name)
        if part is None or value is None:
            continue
        if type(part) is dict:
            if type(value) is dict:
                _collect(value, part, found)
                continue
            part = part.get("")
        if type(part) is str:
            if type(value) is int and part in found and type(found[part]) is int:
                value = max(value, found[part])  # noqa: PLW2901 - one of several names
            found[part] = value


def _whole(found: dict[str, Any]) -> bool:
    """Turn what was found into counts; return whether the totals are there and can be used."""
    if "billed_input" in found or "billed_output" in found:
        found["input"], found["output"] = found.get("billed_input", 0), found.get("billed_output", 0)
        found.pop("total", None)  # counts other tokens than those billed
    for part, value in found.items():
        if type(value) is not int or not 0 <= value <= MOST_TOKENS:
            if part in _NO_COUNTS:
                continue
            number = count(value)
            if number is None and part in _TOTALS:
                return False
            found[part] = number or 0
    return not _TOTALS.isdisjoint(found)


_TOTALS = frozenset({"input", "rest_input", "output"})
_NO_COUNTS = frozenset({"tier", "cost", "cost_ticks", "own_key_cost", "own_key"})


def _nested(found: dict[str, Any], nesting: Nesting) -> Usage:
    """Return the parts with everything that stands beside a total brought inside it."""
    get = found.get
    inputs, outputs = get("input", get("rest_input", 0)), get("output", 0)
    reasoning, citation = get("reasoning", 0), get("citation", 0)
    total = get("total", 0)
    beyond = total - inputs - outputs if total else 0
    cached, write, inside = _cache(found, nesting, inputs, beyond)
    if not inside:
        inputs += cached + write
        beyond -= cached + write
    if reasoning and _beside(nesting.reasoning, reasoning, outputs, beyond):
        outputs += reasoning
        beyond -= reasoning
    if beyond > 0 and beyond != citation and nesting.total == "auto":
        outputs += beyond
        reasoning += beyond
    hour = min(get("cache_write_1h", 0), write)
    return Usage(
        inputs,
        outputs,
        cached,
        write,
        reasoning,
        get("audio_input", 0),
        get("audio_output", 0),
        image_input_tokens=get("image_input", 0),
        image_output_tokens=get("image_output", 0),
        cache_write_1h_tokens=hour,
        citation_tokens=citation,
        searches=get("searches", 0),
    )


def _cache(found: dict[str, Any], nesting: Nesting, inputs: int, beyond: int) -> tuple[int, int, bool]:
    """Return tokens read from the cache, written into it, and whether they are inside the input."""
    get = found.get
    by_life = get("cache_write_5m", 0) + get("cache_write_1h", 0)
    cached = max(get("cached", 0), get("beside_cached", 0))
    write = max(get("cache_write", 0), get("beside_write", 0), by_life)
    if not (get("beside_cached") or get("beside_write")):
        return cached, write, True
    if nesting.cache == "auto" and "input" not in found and "rest_input" in found:
        return cached, write, False
    return cached, write, not _beside(nesting.cache, cached + write, inputs, beyond)


def _beside(place: Place, part: int, whole: int, beyond: int) -> bool:
    """Return whether a part stands beside a total; `beyond` is what the grand total has more than the totals."""
    if place != "auto":
        return place == "outside"
    return part > whole or beyond >= part > 0


def _cost(found: dict[str, Any]) -> int | None:
    """Return what the provider says that the call cost, in nano-USD; None where it says nothing usable."""
    if "cost_ticks" in found:
        return _nusd(found["cost_ticks"], TICKS_PER_USD)
    cost = _nusd(found.get("cost"), 1)
    if cost is not None and found.get("own_key") is True:
        # With the caller's own key upstream, `cost` is the fee alone.
        cost += _nusd(found.get("own_key_cost"), 1) or 0
    return cost


def _nusd(value: object, per_usd: int) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        amount = Decimal(str(value)) * NUSD_PER_USD / per_usd
    except ArithmeticError:  # no number, or one that no decimal can hold
        return None
    return int(amount.to_integral_value()) if amount.is_finite() and 0 <= amount <= MOST_TOKENS * 10 else None


def count(value: object) -> int | None:
    """Return a count of tokens: a whole number in any spelling; absent is 0, anything else None."""
    if type(value) is int:
        return value if 0 <= value <= MOST_TOKENS else None
    if value is None:
        return 0
    if isinstance(value, float | str):
        try:
            number = float(value)
        except ValueError:
            return None
        return int(number) if number.is_integer() and 0 <= number <= MOST_TOKENS else None
    return None
