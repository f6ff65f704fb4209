"""Settings that may change at run time, and saved views."""

from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from trimtab.api.answers import Published, SettingRow
from trimtab.api.replies import actor_of, control_of, read_json, read_query, reply
from trimtab.api.table import Nothing, Route
from trimtab.types import SavedView, SettingChange


class NewValue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A setting's new value, as text."""

    value: Annotated[str, Meta(max_length=1000, description="Empty: back to the default.")]


class SettingList(msgspec.Struct, frozen=True, kw_only=True):
    """All settings that may change at run time."""

    settings: list[SettingRow]


class ChangedSetting(msgspec.Struct, frozen=True, kw_only=True):
    """A setting that was changed."""

    name: str
    published: Published


class HistoryFields(msgspec.Struct, frozen=True, kw_only=True):
    """How much of the history."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class History(msgspec.Struct, frozen=True, kw_only=True):
    """The settings' history, newest first."""

    changes: list[SettingChange]


class NewView(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a view is made from."""

    name: Annotated[str, Meta(min_length=1, max_length=128)]
    query: Annotated[str, Meta(max_length=4096, description="A query string of `GET /api/v1/calls`.")] = ""


class ViewList(msgspec.Struct, frozen=True, kw_only=True):
    """All saved views."""

    views: list[SavedView]


async def list_settings(request: Request) -> Response:
    """Return all settings that may change at run time."""
    return reply(SettingList(settings=await control_of(request).objects.settings()))


async def change_setting(request: Request) -> Response:
    """Change a setting."""
    name = request.path_params["name"]
    given = await read_json(request, NewValue)
    published = await control_of(request).objects.change_setting(actor_of(request), name, given.value)
    return reply(ChangedSetting(name=name, published=published))


async def list_changes(request: Request) -> Response:
    """Return the settings' history."""
    fields = read_query(request, HistoryFields)
    return reply(History(changes=await control_of(request).objects.setting_changes(fields.limit)))


async def list_views(request: Request) -> Response:
    """Return all saved views."""
    return reply(ViewList(views=await control_of(request).objects.views()))


async def create_view(request: Request) -> Response:
    """Save a view."""
    new = await read_json(request, NewView)
    return reply(await control_of(request).objects.add_view(actor_of(request), new.name, new.query), 201)


async def remove_view(request: Request) -> Response:
    """Remove a view."""
    await control_of(request).objects.remove_view(actor_of(request), request.path_params["id"])
    return reply(Nothing())


ROUTES = (
    Route(
        method="GET", path="/api/v1/settings", endpoint=list_settings, action="setting.list", role="viewer",
        summary="the settings that may change at run time; the file's are read-only", reply=SettingList,
    ),
    Route(
        method="GET", path="/api/v1/settings/changes", endpoint=list_changes, action="setting.list",
        role="viewer", summary="the settings' history, newest first", query=HistoryFields, reply=History,
    ),
    Route(
        method="PUT", path="/api/v1/settings/{name}", endpoint=change_setting, action="setting.change",
        role="editor", summary="changes a setting; an empty `value` goes back to the default", body=NewValue,
        reply=ChangedSetting,
    ),
    Route(
        method="GET", path="/api/v1/views", endpoint=list_views, action="view.list", role="viewer",
        summary="saved views of the list of calls", reply=ViewList,
    ),
    Route(
        method="POST", path="/api/v1/views", endpoint=create_view, action="view.create", role="editor",
        summary="saves a view", body=NewView, reply=SavedView, status=201,
    ),
    Route(
        method="DELETE", path="/api/v1/views/{id}", endpoint=remove_view, action="view.remove", role="editor",
        summary="removes a view: one's own, or as an admin anybody's", reply=Nothing,
    ),
)  # fmt: skip
"""Every route of these nouns."""
