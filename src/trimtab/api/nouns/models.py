"""Which models answer, and what is known of them."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from trimtab.api.replies import control_of, reply
from trimtab.api.table import Route
from trimtab.catalog import Catalog
from trimtab.types import RouteSpec, Snapshot, SystemClock


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """Models and routes that can be called by name."""

    models: list[dict[str, Any]]


async def list_models(request: Request) -> Response:
    """Return models and routes to call by name, with context and prices (nano-USD a million tokens)."""
    snapshot = await control_of(request).machine.snapshot()
    catalog = Catalog.load(snapshot.catalog or None)
    return reply(ModelList(models=model_rows(snapshot, catalog, SystemClock().now_us())))


def model_rows(snapshot: Snapshot, catalog: Catalog, now_us: int) -> list[dict[str, Any]]:
    """Return a row for every model and route that the snapshot names.

    A provider that lists no models passes any name on; what the catalog knows of it stands for them.
    """
    names: dict[str, str] = {}
    known = catalog.names()
    for spec in snapshot.providers:
        listed = [f"{spec.name}/{model}" for model in spec.models]
        names |= dict.fromkeys(listed or [n for n in known if n.startswith(f"{spec.name}/")], spec.name)
    names |= {model: model.partition("/")[0] for model in snapshot.targets}
    rows = [_row(name, provider, catalog, now_us) for name, provider in sorted(names.items())]
    rows.extend(
        {"id": f"route/{route.name}", "provider": "", "routes_to": _aims(route, snapshot)}
        for route in snapshot.routes
    )
    return rows


def _aims(route: RouteSpec, snapshot: Snapshot) -> list[str]:
    return [snapshot.releases[w.release].model for w in route.channels.get("production", ())]


def _row(name: str, provider: str, catalog: Catalog, now_us: int) -> dict[str, Any]:
    profile, price = catalog.profile(name), catalog.price(name, now_us)
    return {
        "id": name,
        "provider": provider,
        "context_tokens": profile.context_tokens if profile else 0,
        "input_nusd": price.input if price else None,
        "output_nusd": price.output if price else None,
    }


ROUTES = (
    Route(
        method="GET", path="/api/v1/models", endpoint=list_models, action="model.list", role="viewer",
        summary="models and routes that can be called, with context and prices (nano-USD per million tokens)",
        reply=ModelList,
    ),
)  # fmt: skip
"""Every route of this noun."""
