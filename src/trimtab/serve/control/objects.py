"""What is configured at run time: keys, projects and saved views here; providers and settings in files of their own."""

import re
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from trimtab.access import make_key, permits
from trimtab.api import Published, call_query
from trimtab.serve.child.check import check_payload
from trimtab.types import (
    Actor,
    CallerError,
    ConfigError,
    Forbidden,
    KeySpec,
    NotFound,
    PayloadPolicy,
    Project,
    SavedView,
    new_id,
)

from .erase import erase_project
from .limits.rules import Rules
from .providers import Providers
from .room import Deed, Room
from .settings import Settings

_PROJECT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LONGEST_NAME: Final = 128
_LONGEST_CACHE_S: Final = 31_536_000.0
_LONGEST_QUERY: Final = 4096
_MOST: Final = 10_000
"""Keys, projects and views each; all keys stand in every worker's memory."""


class Keys:
    """Keys that applications hold."""

    _room: Room

    async def keys(self) -> list[KeySpec]:
        """See `api.Objects.keys`."""
        return await self._room.stores.app(lambda app: app.keys())

    async def add_key(
        self,
        actor: Actor,
        name: str,
        project: str,
        payload: PayloadPolicy | None,
        cache_ttl_s: float | None = None,
    ) -> tuple[str, KeySpec, Published]:
        """See `api.Objects.add_key`."""
        check_text("name", name, _LONGEST_NAME)
        if payload is not None:
            check_policy(payload)
        if cache_ttl_s is not None and not 0 <= cache_ttl_s <= _LONGEST_CACHE_S:
            raise CallerError(
                f"cache_ttl_s is {cache_ttl_s:g}; expected seconds from 0 (never) to {_LONGEST_CACHE_S:g}",
                param="cache_ttl_s",
            )
        plain, spec = make_key(
            name, project=project, payload=payload, cache_ttl_s=cache_ttl_s, clock=self._room.clock
        )
        async with self._room.changing:
            held, projects = await self._room.stores.app(lambda app: (app.keys(), app.projects()))
            known = sorted(found.name for found in projects)
            if project not in known:
                raise NotFound(
                    f"there is no project {project[:80]!r}; there are: {', '.join(known[:20])}",
                    param="project",
                )
            check_room("keys", len(held))
            deed = Deed(
                action="key.create",
                object=spec.id,
                detail={"name": name, "project": project, "payload": payload}
                | ({} if cache_ttl_s is None else {"cache_ttl_s": cache_ttl_s}),
            )
            generation = await self._room.change(actor, deed, lambda app: app.add_key(spec))
        return plain, spec, await self._room.wait_for(generation)

    async def revoke_key(self, actor: Actor, key_id: str) -> Published:
        """See `api.Objects.revoke_key`."""
        async with self._room.changing:
            held = {key.id: key for key in await self.keys()}
            if key_id not in held:
                raise NotFound(
                    f"there is no key {key_id[:80]!r}; `trimtab keys list` shows those there are", param="id"
                )
            detail = {"name": held[key_id].name, "project": held[key_id].project}
            deed = Deed(action="key.revoke", object=key_id, detail=detail)
            generation = await self._room.change(actor, deed, lambda app: app.revoke_key(key_id))
        return await self._room.wait_for(generation)


class Projects:
    """The tenants."""

    _room: Room

    async def projects(self) -> list[Project]:
        """See `api.Objects.projects`."""
        return await self._room.stores.app(lambda app: app.projects())

    async def put_project(self, actor: Actor, project: Project) -> Published:
        """See `api.Objects.put_project`."""
        if _PROJECT.fullmatch(project.name) is None:
            raise CallerError(
                f"{project.name[:80]!r} cannot be a project's name: it has 1 to 64 letters, digits, '.', '_' and "
                "'-', and begins with a letter or digit",
                param="name",
            )
        check_text("title", project.title, _LONGEST_NAME)
        check_policy(project.payload)
        if not 0 <= project.retention_days <= 36_500:
            raise CallerError(
                "retention_days must be from 0 (as long as the rest) to 36,500", param="retention_days"
            )
        async with self._room.changing:
            there = {found.name: found for found in await self.projects()}
            old = there.get(project.name)
            if old is None:
                check_room("projects", len(there))
            created_us = old.created_us if old else self._room.clock.now_us()
            new = msgspec.structs.replace(project, created_us=created_us)
            deed = Deed(
                action="project.change" if old else "project.create",
                object=project.name,
                detail=differences(old, new, ("payload", "title", "retention_days")),
            )
            generation = await self._room.change(actor, deed, lambda app: app.put_project(new))
        return await self._room.wait_for(generation)

    async def remove_project(self, actor: Actor, name: str) -> Published:
        """See `api.Objects.remove_project`."""
        if name == Project().name:
            raise CallerError(f"the project {name!r} stays: calls without a key belong to it", param="name")
        async with self._room.changing:
            if name not in {project.name for project in await self.projects()}:
                raise NotFound(
                    f"there is no project {name[:80]!r}; `trimtab projects list` shows those there are",
                    param="name",
                )
            deed = Deed(action="project.remove", object=name)
            generation = await self._room.change(actor, deed, lambda app: app.remove_project(name))
        # Only once no worker takes its keys any more does nothing follow what is erased.
        published = await self._room.wait_for(generation)
        calls = await erase_project(self._room, name)
        return msgspec.structs.replace(published, notes=(*published.notes, f"{calls} calls are erased"))


class Views:
    """Saved views of the list of calls."""

    _room: Room

    async def views(self) -> list[SavedView]:
        """See `api.Objects.views`."""
        return await self._room.stores.app(lambda app: app.views())

    async def add_view(self, actor: Actor, name: str, query: str) -> SavedView:
        """See `api.Objects.add_view`."""
        check_text("name", name, _LONGEST_NAME)
        if not name.strip():
            raise CallerError("a view needs a name", param="name")
        check_text("query", query, _LONGEST_QUERY)
        call_query(dict(parse_qsl(query.removeprefix("?"), keep_blank_values=True)))
        async with self._room.changing:
            check_room("views", len(await self.views()))
            view = SavedView(
                id=new_id(),
                name=name,
                owner=actor.name,
                query=query.removeprefix("?"),
                created_us=self._room.clock.now_us(),
            )
            deed = Deed(action="view.create", object=name, detail={"query": query})
            await self._room.do(actor, deed, lambda app: app.put_view(view))
        return view

    async def remove_view(self, actor: Actor, view_id: str) -> None:
        """See `api.Objects.remove_view`."""
        async with self._room.changing:
            found = {view.id: view for view in await self.views()}.get(view_id)
            if found is None:
                raise NotFound(f"there is no view {view_id[:80]!r}; list them to see their ids", param="id")
            deed = Deed(action="view.remove", object=found.name, detail={"owner": found.owner})
            if found.owner != actor.name and not permits(actor.role, "admin"):
                await self._room.refuse(actor, deed)
                raise Forbidden(f"this view is {found.owner!r}'s; its owner and admins may remove it")
            await self._room.do(actor, deed, lambda app: app.remove_view(view_id))


class Objects(Keys, Projects, Providers, Rules, Settings, Views):
    """See `api.Objects`."""

    def __init__(self, room: Room) -> None:
        self._room = room


def differences(old: object | None, new: object, fields: tuple[str, ...]) -> dict[str, object]:
    """Return which fields changed, as `{field: [before, after]}`."""
    before = {field: None if old is None else getattr(old, field) for field in fields}
    return {
        field: [before[field], getattr(new, field)]
        for field in fields
        if before[field] != getattr(new, field)
    }


def check_text(param: str, text: str, longest: int) -> None:
    """Check a text that people read.

    Raises:
        CallerError: it is too long, or holds control characters.
    """
    if len(text) > longest or any(ord(c) < 32 or 127 <= ord(c) < 160 for c in text):
        raise CallerError(
            f"{param} has at most {longest} characters, and no control characters among them", param=param
        )


def check_policy(policy: str) -> None:
    """Check that a payload policy can be applied.

    Raises:
        CallerError: there is no such policy, or it needs what is not set up.
    """
    try:
        check_payload(policy)  # type: ignore[arg-type]  # the point is to find out
    except ConfigError as error:
        raise CallerError(error.message, param="payload") from error


def check_room(what: str, there: int) -> None:
    """Check that one more may be added.

    Raises:
        CallerError: there are as many as may be.
    """
    if there >= _MOST:
        raise CallerError(f"there are {_MOST:,} {what} already; remove some")
