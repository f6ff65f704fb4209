"""How calls survive what providers do: policies, as the snapshot holds them, and what is seen of each target."""

from typing import Literal

import msgspec

BreakerState = Literal["closed", "open", "half_open"]
"""Calls go there / they do not / one call at a time goes there to find out."""


class Breaker(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a target is left alone, and for how long. A call is bad when it failed or was slow."""

    enabled: bool = True
    window: int = 20
    """Calls looked back on, 60 at most."""
    min_calls: int = 10
    """Calls in the window below which no share is judged."""
    bad_share: float = 0.5
    in_a_row: int = 4
    """Bad calls in a row that open it whatever the share."""
    slow_factor: float = 5.0
    """A call is slow that takes so many times a target's usual time; 0: none is."""
    slow_s: float = 0.0
    """A call is slow that takes longer than this, whatever is usual; 0: no such limit."""
    open_s: float = 1.0
    """How long it stays open the first time; doubles with each probe that fails."""
    open_max_s: float = 3.0
    probes: int = 2
    """Good probes in a row that close it."""


class Resilience(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds for every model and route."""

    breaker: Breaker = Breaker()
    retry_share: float = 0.1
    """Retries at a target that has failed in the same call, as a share of a model's calls."""
    retry_min_per_s: float = 1.0
    """Retries a second that are allowed however few calls there are, for each model and worker."""
    when_all_open: Literal["try", "refuse"] = "try"
    """Every other target failed or is left alone: ask the least bad of those left alone once, or fail at once."""
    max_in_flight: int = 10_000
    """Calls that a worker has open at once; 0: no bound."""
    max_lag_s: float = 0.5
    """How late a worker's event loop may run, three times in a row, before calls are refused; 0: no bound."""


class Hedge(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask a second time when the first answer is late, and take whichever comes first."""

    after_p: float = 0.95
    """Quantile of the target's recent latencies to wait for: at least twice the usual one, at most what is slow. Not
    used where `after_ms` is set."""
    after_ms: float = 0.0
    budget: float = 0.05
    """Second requests as a share of the route's calls."""


class Degraded(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A lesser model that answers when nothing else of a route does."""

    model: str
    take_over_s: float = 10.0
    """When the others have no content by then, it takes over; at once where all have failed or are left alone."""


class TargetHealth(msgspec.Struct, frozen=True, kw_only=True):
    """What workers have seen of one target lately."""

    target: str
    """`provider/model` as asked there."""
    provider: str
    breaker: BreakerState = "closed"
    reopens_s: float = 0.0
    """Seconds until the next probe, where it is open."""
    calls: int = 0
    """Attempts since the workers started."""
    failed: int = 0
    """Those of them that failed."""
    bad_share: float = 0.0
    """Share of the last calls that failed or were slow: what the breaker judges, 0 to 1."""
    in_flight: int = 0
    p50_ms: float = 0.0
    """Of the last answers, to the first content where they were streamed; 0: none yet."""
    p95_ms: float = 0.0
    ewma_ms: float = 0.0
    """What balancing goes by: rises at once with a slow answer, and falls slowly."""
    opened: int = 0
    """Times that a worker opened the breaker."""
    last_error: str = ""
    """Code of the last failure."""
    last_error_us: int = 0
