"""Providers: who serves models."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from trimtab.api.answers import Moved, ProviderRow, ProviderTest, Published
from trimtab.api.replies import actor_of, control_of, read_json, reply
from trimtab.api.table import Route
from trimtab.types import Deadlines, ProviderSpec

Key = Annotated[str, Meta(max_length=4096, description="The key itself; empty: it needs none.")]


class ProviderFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What can be said of a provider at run time; what is left out goes back to its default."""

    kind: Annotated[str, Meta(min_length=1, max_length=64)] = "openai"
    base_url: Annotated[str, Meta(max_length=2000)] = ""
    models: Annotated[list[str], Meta(max_length=2000)] = []
    headers: dict[str, str] = {}
    max_connections: Annotated[int, Meta(ge=1, le=10_000)] = 1000
    deadlines: Deadlines | None = None
    options: dict[str, Any] = {}
    api_key: Key | None = None
    """By an admin only; null: the present one stays."""


class NewKeyOfProvider(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A provider's new key."""

    api_key: Key


class ProviderList(msgspec.Struct, frozen=True, kw_only=True):
    """All providers, of file and store."""

    providers: list[ProviderRow]


class ChangedProvider(msgspec.Struct, frozen=True, kw_only=True):
    """A provider that was added, changed or removed."""

    name: str
    published: Published


class AfterRemoval(msgspec.Struct, frozen=True, kw_only=True):
    """Where the calls that a provider answers would go without it."""

    moved: list[Moved]


async def list_providers(request: Request) -> Response:
    """Return all providers, without their keys."""
    return reply(ProviderList(providers=await control_of(request).objects.providers()))


async def put_provider(request: Request) -> Response:
    """Add a provider, or change one that was added at run time."""
    name = request.path_params["name"]
    fields = await read_json(request, ProviderFields)
    spec = ProviderSpec(
        name=name,
        kind=fields.kind,
        base_url=fields.base_url,
        models=tuple(fields.models),
        headers=fields.headers,
        max_connections=fields.max_connections,
        deadlines=fields.deadlines,
        options=fields.options,
    )
    published = await control_of(request).objects.put_provider(
        actor_of(request), spec, api_key=fields.api_key
    )
    return reply(ChangedProvider(name=name, published=published))


async def rotate_key(request: Request) -> Response:
    """Give a provider a new key; everything else stays."""
    name = request.path_params["name"]
    given = await read_json(request, NewKeyOfProvider)
    published = await control_of(request).objects.rotate_key(actor_of(request), name, given.api_key)
    return reply(ChangedProvider(name=name, published=published))


async def remove_provider(request: Request) -> Response:
    """Remove a provider that was added at run time."""
    name = request.path_params["name"]
    published = await control_of(request).objects.remove_provider(actor_of(request), name)
    return reply(ChangedProvider(name=name, published=published))


async def test_provider(request: Request) -> Response:
    """Ask a provider for its models; that it fails is no error of this request."""
    name = request.path_params["name"]
    return reply(await control_of(request).objects.test_provider(actor_of(request), name))


async def after_removal(request: Request) -> Response:
    """Return where the calls that a provider answers would go without it."""
    name = request.path_params["name"]
    return reply(AfterRemoval(moved=await control_of(request).objects.after_removal(name)))


ROUTES = (
    Route(
        method="GET", path="/api/v1/providers", endpoint=list_providers, action="provider.list", role="viewer",
        summary="all providers, of file and store, without their keys", reply=ProviderList,
    ),
    Route(
        method="PUT", path="/api/v1/providers/{name}", endpoint=put_provider, action="provider.change",
        role="editor", summary="adds a provider, or changes one that was added at run time", body=ProviderFields,
        reply=ChangedProvider, secrets="`api_key`",
    ),
    Route(
        method="PUT", path="/api/v1/providers/{name}/key", endpoint=rotate_key, action="provider.rotate",
        role="admin", summary="gives a provider a new key", body=NewKeyOfProvider, reply=ChangedProvider,
    ),
    Route(
        method="POST", path="/api/v1/providers/{name}/test", endpoint=test_provider, action="provider.test",
        role="editor", summary="asks a provider for its models, within 10 s; a failure is data", reply=ProviderTest,
    ),
    Route(
        method="GET", path="/api/v1/providers/{name}/after-removal", endpoint=after_removal, action="provider.read",
        role="viewer", summary="where the calls that a provider answers would go without it: maybe to another",
        reply=AfterRemoval,
    ),
    Route(
        method="DELETE", path="/api/v1/providers/{name}", endpoint=remove_provider, action="provider.remove",
        role="editor", summary="removes a provider that was added at run time", reply=ChangedProvider,
    ),
)  # fmt: skip
"""Every route of this noun."""
