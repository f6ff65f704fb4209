"""The one table of names: which fact of a call has which name in OpenTelemetry's conventions.

The conventions for generative AI moved to a repository of their own (open-telemetry/semantic-conventions-genai) and
change there; `SCHEMA` pins the version that these names are of. Since then, unreleased: `gen_ai.client.token.usage`
is to give way to counters `gen_ai.client.inference.*`. A new version is a new value here and changed rows below, and
nothing else. What the conventions have no name for begins with `trimtab.`.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from trimtab.types import Call, Closed, Usage

SCHEMA: Final = "https://opentelemetry.io/schemas/gen-ai/1.42.0"
"""Sent as `schema_url`, so that backends can translate."""

SCOPE: Final = "trimtab"

OPERATIONS: Final = {"chat": "chat", "embeddings": "embeddings"}
"""Kind of a call → `gen_ai.operation.name`; a kind that is not here is sent as it is."""

PROVIDERS: Final = {
    "anthropic": "anthropic",
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "cohere": "cohere",
    "deepseek": "deepseek",
    "gemini": "gcp.gemini",
    "groq": "groq",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "openai": "openai",
    "perplexity": "perplexity",
    "vertex": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}
"""Name of a provider in the configuration → the conventions' value; any other name is sent as it is."""


class Fact(NamedTuple):
    """One attribute of a span of a call."""

    name: str
    about: str
    of: Callable[[Call], Any]
    """Its value: a text, number, flag or tuple of texts; None, an empty text or tuple: it is left out."""
    metric: bool = False
    """Whether it is a dimension of the metrics too: few values only."""


def provider_of(call: Call) -> str:
    """Return the conventions' name of the provider that answered, or was asked last or would have been."""
    name = (call.closed.provider if call.closed else "") or model_of(call).partition("/")[0]
    return PROVIDERS.get(name, name)


def model_of(call: Call) -> str:
    """Return `provider/model`: who answered or was tried last, else whom the release names."""
    return (call.closed.model if call.closed else "") or call.opened.model


def request_model(call: Call) -> str:
    """Return the model's name at its provider."""
    return model_of(call).partition("/")[2] or call.opened.model_asked


def error_of(call: Call) -> str:
    """Return the code of what a call ended with; empty where it was answered."""
    if call.closed is None:
        return "unfinished"
    return call.closed.error_code or ("" if call.state == "ok" else call.state)


def _closed(of: Callable[[Closed], Any]) -> Callable[[Call], Any]:
    return lambda call: None if call.closed is None else of(call.closed)


def _usage(field: str, *, always: bool = False) -> Callable[[Call], Any]:
    def of(call: Call) -> int | None:
        if call.closed is None or call.closed.usage == _NOTHING_USED:
            return None
        count: int = getattr(call.closed.usage, field)
        return count if count or always else None

    return of


def _first_chunk(call: Call) -> float | None:
    if call.closed is None or not call.opened.stream or not call.closed.first_byte_us:
        return None
    return call.closed.first_byte_us / 1e6


_NOTHING_USED: Final = Usage()

CALL_FACTS: Final[tuple[Fact, ...]] = (
    Fact(
        "gen_ai.operation.name",
        "`chat` or `embeddings`",
        lambda c: OPERATIONS.get(c.opened.kind, c.opened.kind),
        metric=True,
    ),
    Fact("gen_ai.provider.name", "who answered, or was asked last", provider_of, metric=True),
    Fact("gen_ai.request.model", "the model's name at that provider", request_model, metric=True),
    Fact("gen_ai.response.model", "the name in the answer", _closed(lambda c: c.model_served), metric=True),
    Fact("error.type", "our error code, where the call was not answered", error_of, metric=True),
    Fact("gen_ai.response.id", "the provider's id of the answer", _closed(lambda c: c.provider_response_id)),
    Fact(
        "gen_ai.response.finish_reasons",
        "why the model stopped",
        _closed(lambda c: (c.finish_reason,) if c.finish_reason else ()),
    ),
    Fact("gen_ai.response.time_to_first_chunk", "seconds to the first content of a stream", _first_chunk),
    Fact("gen_ai.request.stream", "whether a stream was asked for", lambda c: c.opened.stream),
    Fact("gen_ai.conversation.id", "the session that the caller named", lambda c: c.opened.session),
    Fact("gen_ai.usage.input_tokens", "cached ones included", _usage("input_tokens", always=True)),
    Fact("gen_ai.usage.output_tokens", "reasoning included", _usage("output_tokens", always=True)),
    Fact("gen_ai.usage.cache_read.input_tokens", "of the input", _usage("cached_tokens")),
    Fact("gen_ai.usage.cache_creation.input_tokens", "of the input", _usage("cache_write_tokens")),
    Fact("gen_ai.usage.reasoning.output_tokens", "of the output", _usage("reasoning_tokens")),
    Fact("gen_ai.usage.audio.input_tokens", "of the input", _usage("audio_input_tokens")),
    Fact("gen_ai.usage.audio.output_tokens", "of the output", _usage("audio_output_tokens")),
    Fact("gen_ai.prompt.name", "the prompt, where a route names one", lambda c: c.opened.prompt_name),
    Fact("user.id", "the user that the caller named", lambda c: c.opened.user),
    Fact("trimtab.call.id", "the id in console, API and log", lambda c: c.id),
    Fact("trimtab.project", "the project", lambda c: c.opened.project),
    Fact("trimtab.purpose", "`live`, `eval`, `probe`, ...", lambda c: c.opened.purpose),
    Fact("trimtab.state", "`ok`, `error`, `cancelled` or `unfinished`", lambda c: c.state),
    Fact("trimtab.key.id", "the key's id, never the key", lambda c: c.opened.key),
    Fact("trimtab.route", "the route asked for", lambda c: c.opened.route),
    Fact("trimtab.channel", "the route's channel", lambda c: c.opened.channel),
    Fact(
        "trimtab.release",
        "id of the release",
        lambda c: (c.closed.release if c.closed else "") or c.opened.release,
    ),
    Fact("trimtab.model.asked", "what the caller wrote into `model`", lambda c: c.opened.model_asked),
    Fact("trimtab.tags", "the caller's tags", lambda c: c.opened.tags),
    Fact("trimtab.cost_usd", "what it cost, in USD", _closed(lambda c: c.cost_nusd / 1e9)),
    Fact("trimtab.cost_nusd", "the same, exactly: billionths of a USD", _closed(lambda c: c.cost_nusd)),
    Fact("trimtab.price_version", "the price table it was counted by", _closed(lambda c: c.price_version)),
    Fact("trimtab.usage.estimated", "the provider sent no usage", _closed(lambda c: c.usage.estimated)),
    Fact("trimtab.attempts", "how often a provider was asked", _closed(lambda c: len(c.attempts))),
    Fact("trimtab.degraded", "the own model stood in", _closed(lambda c: c.degraded)),
    Fact("trimtab.cache_hit", "answered without a provider", _closed(lambda c: c.cache_hit)),
)
"""Attributes of the span of a call; none of them holds words of a request or an answer."""

METRIC_FACTS: Final = tuple(fact for fact in CALL_FACTS if fact.metric)

INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
"""Opt-in: words, as far as the payload policy kept them."""

ATTEMPT_NAME: Final = "trimtab.attempt"
"""Name of the span of one try of one provider, a child of the call's."""

FAILED_EVENT: Final = "gen_ai.client.operation.exception"
DETAILS_EVENT: Final = "gen_ai.client.inference.operation.details"
"""Names of events, which travel as log records."""


class Instrument(NamedTuple):
    """One histogram over calls."""

    name: str
    unit: str
    about: str
    bounds: tuple[float, ...]
    of: Callable[[Call], float | None]
    """What a call adds; None: nothing."""
    extra: tuple[tuple[str, str], ...] = ()
    """Attributes beside the call's."""


_SECONDS: Final = tuple(0.01 * 2**n for n in range(14))
_FIRST: Final = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
_PER_TOKEN: Final = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_TOKENS: Final = tuple(float(4**n) for n in range(14))


def _duration_s(call: Call) -> float | None:
    return None if call.latency_ms is None else max(call.latency_ms, 0.0) / 1000


def _answered_first_s(call: Call) -> float | None:
    return _first_chunk(call) if call.state == "ok" else None


def _per_token_s(call: Call) -> float | None:
    first, whole = _answered_first_s(call), _duration_s(call)
    tokens = call.closed.usage.output_tokens if call.closed else 0
    if first is None or whole is None or tokens < 2:
        return None
    return max(whole - first, 0.0) / (tokens - 1)


INSTRUMENTS: Final[tuple[Instrument, ...]] = (
    Instrument(
        "gen_ai.client.operation.duration", "s", "A call as its provider was asked.", _SECONDS, _duration_s
    ),
    Instrument("gen_ai.client.operation.time_to_first_chunk", "s", "Streams only.", _FIRST, _first_chunk),
    Instrument(
        "gen_ai.client.token.usage",
        "{token}",
        "Billed input tokens of a call.",
        _TOKENS,
        _usage("input_tokens", always=True),
        (("gen_ai.token.type", "input"),),
    ),
    Instrument(
        "gen_ai.client.token.usage",
        "{token}",
        "Billed output tokens of a call.",
        _TOKENS,
        _usage("output_tokens", always=True),
        (("gen_ai.token.type", "output"),),
    ),
    Instrument(
        "gen_ai.server.request.duration", "s", "A call as the application sees it.", _SECONDS, _duration_s
    ),
    Instrument("gen_ai.server.time_to_first_token", "s", "Answered streams only.", _FIRST, _answered_first_s),
    Instrument(
        "gen_ai.server.time_per_output_token", "s", "After the first; streams only.", _PER_TOKEN, _per_token_s
    ),
)
"""Histograms; bounds are the conventions' own."""

COUNTERS: Final[dict[str, tuple[str, str]]] = {
    "requests": ("trimtab.requests", "{request}"),
    "rejected": ("trimtab.requests.rejected", "{request}"),
    "upstream_attempts": ("trimtab.upstream.attempts", "{attempt}"),
    "retries": ("trimtab.retries", "{attempt}"),
    "fallbacks": ("trimtab.fallbacks", "{call}"),
    "cost_nusd": ("trimtab.cost_nusd", "{nUSD}"),
    "unrecorded_opened": ("trimtab.unrecorded.opened", "{call}"),
    "unrecorded_closed": ("trimtab.unrecorded.closed", "{call}"),
}
"""Counter of the workers → name and unit of the sum it is sent as."""

GAUGES: Final[dict[str, tuple[str, str]]] = {"in_flight": ("trimtab.in_flight", "{call}")}
