"""The settings of resilience, as the policies that workers obey."""

import msgspec

from trimtab.types import Breaker, Degraded, Hedge, Resilience

from .schema import ResilienceSection, RouteSection

_OF_BREAKER = {field.name for field in msgspec.structs.fields(Breaker)}


def resilience_of(section: ResilienceSection) -> Resilience:
    """Return the section as a policy."""
    fields = msgspec.structs.asdict(section)
    enabled = fields.pop("breaker")
    breaker = Breaker(
        enabled=enabled, **{name: fields.pop(name) for name in tuple(fields) if name in _OF_BREAKER}
    )
    return Resilience(breaker=breaker, **fields)


def routing_of(route: RouteSection) -> tuple[Hedge | None, Degraded | None]:
    """Return how a route's calls are hedged, and what answers for all others."""
    hedge = Hedge(**msgspec.structs.asdict(route.hedge)) if route.hedge else None
    degraded = Degraded(**msgspec.structs.asdict(route.degraded)) if route.degraded else None
    return hedge, degraded
