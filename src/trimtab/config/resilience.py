"""What `[resilience]` and a route's `hedge` and `degraded` may hold, and the policies that workers obey."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from trimtab.types import Breaker, Degraded, Hedge, Resilience

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Pause = Annotated[float, Meta(ge=0, le=86_400)]

_OF_BREAKER = {field.name for field in msgspec.structs.fields(Breaker)}


class ResilienceSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds while providers are slow, failing or gone; see [Survive bad days](../how-to/resilience.md)."""

    breaker: Annotated[bool, Meta(description="Leave a target alone for a moment that keeps failing.")] = True
    window: Annotated[int, Meta(ge=2, le=60, description="Calls of a target looked back on.")] = 20
    min_calls: Annotated[int, Meta(ge=1, le=60, description="Calls below which no share is judged.")] = 10
    bad_share: Annotated[
        float,
        Meta(gt=0, le=1, description="Share of calls, failed or slow, from which the breaker opens."),
    ] = 0.5
    in_a_row: Annotated[int, Meta(ge=1, description="Bad calls in a row that open it at once.")] = 4
    slow_factor: Annotated[
        float,
        Meta(ge=0, description="Slow is what takes so many times a target's usual time; 0: nothing is."),
    ] = 5.0
    slow_s: Annotated[
        Pause, Meta(description="Slow is also what takes longer than this, in seconds; 0: no such limit.")
    ] = 0.0
    open_s: Annotated[
        Seconds,
        Meta(description="How long an open breaker waits for its first probe; doubles with bad ones."),
    ] = 1.0
    open_max_s: Annotated[
        float, Meta(gt=0, le=30, description="The longest wait between probes, in seconds.")
    ] = 3.0
    probes: Annotated[int, Meta(ge=1, le=15, description="Good probes in a row that close it.")] = 2
    retry_share: Annotated[
        float,
        Meta(
            ge=0, le=1, description="Retries at a target that has just failed, as a share of a model's calls."
        ),
    ] = 0.1
    retry_min_per_s: Annotated[
        float, Meta(ge=0, description="Such retries a second that are free, for each model and worker.")
    ] = 1.0
    when_all_open: Annotated[
        Literal["try", "refuse"],
        Meta(
            description="When all that a call could still ask is left alone: ask the least bad once, or fail "
            "at once with `no_healthy_target` and Retry-After."
        ),
    ] = "try"
    max_in_flight: Annotated[
        int, Meta(ge=0, description="Calls a worker has open at once before it refuses more; 0: no bound.")
    ] = 10_000
    max_lag_s: Annotated[
        Pause,
        Meta(
            description="How late a worker may run, three times in a row, before it refuses calls; 0: no bound."
        ),
    ] = 0.5


class HedgeSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask a second time when an answer is late; the first to answer wins, the other is cancelled."""

    after_p: Annotated[
        float, Meta(gt=0, lt=1, description="Wait as long as this share of the target's answers takes.")
    ] = 0.95
    after_ms: Annotated[
        float, Meta(ge=0, description="Wait so many milliseconds instead; 0: by `after_p`.")
    ] = 0.0
    budget: Annotated[
        float, Meta(gt=0, le=1, description="Second requests, as a share of the route's calls.")
    ] = 0.05


class DegradedSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A lesser model that answers when all others of a route are gone; replies say `x-trimtab-degraded: true`."""

    model: Annotated[str, Meta(min_length=1, description="`provider/model`, such as the own model.")]
    take_over_s: Annotated[
        Seconds,
        Meta(
            description="Seconds after which it takes over unless another has content by then; sooner once all fail."
        ),
    ] = 10.0


def resilience_of(section: ResilienceSection) -> Resilience:
    """Return the section as a policy."""
    fields = msgspec.structs.asdict(section)
    enabled = fields.pop("breaker")
    breaker = Breaker(
        enabled=enabled, **{name: fields.pop(name) for name in tuple(fields) if name in _OF_BREAKER}
    )
    return Resilience(breaker=breaker, **fields)


def routing_of(
    hedge: HedgeSection | None, degraded: DegradedSection | None
) -> tuple[Hedge | None, Degraded | None]:
    """Return how a route's calls are hedged, and what answers for all others."""
    return (
        Hedge(**msgspec.structs.asdict(hedge)) if hedge else None,
        Degraded(**msgspec.structs.asdict(degraded)) if degraded else None,
    )
