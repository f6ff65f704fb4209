"""Providers: those of the file are shown, those of the store are added, tested, changed and removed here."""

import asyncio
import re
from typing import Final, Protocol, runtime_checkable

import msgspec

from trimtab.access import is_sealed, permits
from trimtab.api import Moved, ProviderRow, ProviderTest, Published
from trimtab.config import shown_reference
from trimtab.pipeline import full_name
from trimtab.providers import ProviderContext, make_provider
from trimtab.providers.transport import parse_origin, screened
from trimtab.types import (
    Actor,
    AddressRefused,
    CallerError,
    ConfigError,
    Forbidden,
    NotFound,
    Provider,
    ProviderSpec,
    Reach,
    Snapshot,
    StoredProvider,
    TotalTimeout,
    TrimtabError,
)

from .compose import compose, gather
from .provider_checks import MOST_MODELS, changes, check_key, check_spec
from .room import Deed, Room

_HINT: Final = 4
_HINTED: Final = 20
"""Characters of a key at least, for its last four to be shown."""

_TEST_S: Final = 10.0
_MOVES_SHOWN: Final = 20
"""Models of a provider whose names are followed to where they would go without it."""

_ANY: Final = "…"
"""Stands for any model's name."""

_RESOLVE_S: Final = 5.0
_MOST_PROVIDERS: Final = 200


class Providers:
    """Who serves models."""

    _room: Room

    async def providers(self) -> list[ProviderRow]:
        """See `api.Objects.providers`."""
        stored = await self._room.stores.app(lambda app: app.providers())
        named = {spec.name for spec in self._room.base.providers}
        rows = [self._row(StoredProvider(spec=spec), "file") for spec in self._room.base.providers]
        rows += [self._row(found, "store") for found in stored if found.spec.name not in named]
        return rows

    def _row(self, found: StoredProvider, owner: str) -> ProviderRow:
        spec = found.spec
        return ProviderRow(
            name=spec.name,
            kind=spec.kind,
            base_url=_without_user(spec.base_url),
            models=spec.models,
            owner="file" if owner == "file" else "store",
            key_set=bool(spec.api_key),
            key_hint=self._hint(spec),
            rotated_us=found.rotated_us,
            headers=tuple(sorted(spec.headers)),
            max_connections=spec.max_connections,
            deadlines=spec.deadlines,
            options=tuple(sorted(spec.options)),
            proxy=_without_user(spec.proxy),
            ca_file=spec.ca_file,
        )

    def _hint(self, spec: ProviderSpec) -> str:
        if shown := shown_reference(spec.api_key):
            return shown
        if is_sealed(spec.api_key):
            plain = self._room.seal.open(spec) if self._room.opens(spec) else ""
        else:
            plain = spec.api_key
        return f"…{plain[-_HINT:]}" if len(plain) >= _HINTED and "${" not in plain else ""

    async def put_provider(self, actor: Actor, spec: ProviderSpec, *, api_key: str | None) -> Published:
        """See `api.Objects.put_provider`. Only an admin may give a key."""
        if api_key is not None:
            await self._admins_only(actor, spec.name)
        check_spec(spec)
        check_key(api_key)
        self._refuse_the_files(spec.name)
        await self._check_address(spec)
        async with self._room.changing:
            held = {
                found.spec.name: found for found in await self._room.stores.app(lambda app: app.providers())
            }
            old = held.get(spec.name)
            if old is None and len(held) >= _MOST_PROVIDERS:
                raise CallerError(f"there are {_MOST_PROVIDERS} providers already; remove some")
            new = self._sealed(spec, old, api_key)
            await self._check_obeyed(new.spec)
            deed = Deed(
                action="provider.create" if old is None else "provider.change",
                object=spec.name,
                detail=changes(old, new, api_key),
            )
            generation = await self._room.change(actor, deed, lambda app: app.put_provider(new))
        return await self._room.wait_for(generation)

    async def rotate_key(self, actor: Actor, name: str, api_key: str) -> Published:
        """See `api.Objects.rotate_key`."""
        await self._admins_only(actor, name)
        check_key(api_key)
        self._refuse_the_files(name)
        async with self._room.changing:
            held = {
                found.spec.name: found for found in await self._room.stores.app(lambda app: app.providers())
            }
            if name not in held:
                raise _unknown(name)
            new = self._sealed(held[name].spec, held[name], api_key)
            await self._check_obeyed(new.spec)
            detail = {"api_key": "set" if api_key else "removed"}
            deed = Deed(action="provider.rotate", object=name, detail=detail)
            generation = await self._room.change(actor, deed, lambda app: app.put_provider(new))
        return await self._room.wait_for(generation)

    async def _admins_only(self, actor: Actor, name: str) -> None:
        if not permits(actor.role, "admin"):
            await self._room.refuse(actor, Deed(action="provider.rotate", object=name))
            raise Forbidden("only an admin may enter a provider's key")

    async def remove_provider(self, actor: Actor, name: str) -> Published:
        """See `api.Objects.remove_provider`."""
        self._refuse_the_files(name)
        async with self._room.changing:
            held = await self._room.stores.app(lambda app: app.providers())
            if name not in {found.spec.name for found in held}:
                raise _unknown(name)
            stored = await self._room.stores.app(gather)
            left = tuple(spec for spec in stored.providers if spec.name != name)
            try:
                await self._room.check(msgspec.structs.replace(stored, providers=left))
            except ConfigError as error:
                raise CallerError(
                    f"provider {name!r} is in use: {error.message}; point it elsewhere first", param="name"
                ) from error
            deed = Deed(action="provider.remove", object=name)
            generation = await self._room.change(actor, deed, lambda app: app.remove_provider(name))
        return await self._room.wait_for(generation)

    async def after_removal(self, name: str) -> list[Moved]:
        """See `api.Objects.after_removal`."""
        stored = await self._room.stores.app(gather)
        left = tuple(found for found in stored.providers if found.name != name)
        now, then = (
            compose(self._room.base, what, 0, fixed=self._room.fixed)
            for what in (stored, msgspec.structs.replace(stored, providers=left))
        )
        spec = {found.name: found for found in now.providers}.get(name)
        if spec is None:
            raise _unknown(name)
        models = spec.models[:_MOVES_SHOWN] or (_ANY,)
        called = (*(f"{name}/{model}" for model in models), *models)
        return [_moved(then, one) for one in called if _answerer(now, one) == name]

    async def test_provider(self, actor: Actor, name: str) -> ProviderTest:
        """See `api.Objects.test_provider`."""
        snapshot = await self._room.stores.app(lambda _: self._room.stores.snapshots.load())
        spec = {found.name: found for found in snapshot.providers}.get(name)
        if spec is None:
            raise _unknown(name)
        clock = self._room.clock
        began = clock.monotonic()
        models: list[str] = []
        asked = ""
        failure: TrimtabError | None = None
        try:
            provider = await asyncio.to_thread(
                make_provider,
                spec,
                ProviderContext(run_dir=self._room.layout.run, unseal=self._room.seal.open),
            )
            asked = f"GET {_without_user(provider.endpoint)}/models" if isinstance(provider, _Told) else ""
            models = await _models(provider)
        except TimeoutError:
            failure = TotalTimeout(f"no answer within {_TEST_S:g} s")
        except TrimtabError as error:
            failure = error
        took_ms = round((clock.monotonic() - began) * 1000)
        code = failure.code if failure else ""
        deed = Deed(action="provider.test", object=name, detail={"ok": failure is None, "error_code": code})
        await self._room.note(actor, deed)
        return ProviderTest(
            ok=failure is None,
            took_ms=took_ms,
            asked=asked,
            sent=_sent(spec) if asked else (),
            proxy=_without_user(spec.proxy),
            patience_s=_TEST_S,
            models=tuple(sorted(models)[:MOST_MODELS]),
            error_code=code,
            message=self._without_secrets(failure.message, spec) if failure else "",
        )

    def _without_secrets(self, message: str, spec: ProviderSpec) -> str:
        """Blank what a provider's error repeats of what we sent to it."""
        try:
            sent = ProviderContext(unseal=self._room.seal.open).expanded(spec)
        except ConfigError:
            return message
        for secret in (sent.api_key, *sent.headers.values(), sent.proxy):
            if len(secret) >= _HINT:
                message = message.replace(secret, "***")
        return message

    def _refuse_the_files(self, name: str) -> None:
        if name in {spec.name for spec in self._room.base.providers}:
            raise CallerError(
                f"provider {name!r} is declared by the configuration file or the environment; change it there",
                param="name",
            )

    async def _check_address(self, spec: ProviderSpec) -> None:
        """Refuse an address that this provider may not reach; connections are screened again, each time.

        Raises:
            CallerError: with the reason.
        """
        if not spec.base_url:
            return
        reach: Reach = "private" if self._room.base.policy.private_addresses else "public"
        try:
            origin = parse_origin(spec.base_url, "provider")
        except ConfigError as error:
            raise CallerError(error.message, param="base_url") from error
        try:
            async with asyncio.timeout(_RESOLVE_S):
                await screened(origin.host, origin.port, reach, tls=origin.tls)
        except AddressRefused as error:
            raise CallerError(f"base_url: {error.message}", param="base_url") from error
        except (TimeoutError, OSError, UnicodeError) as error:  # UnicodeError: no name that DNS could hold
            raise CallerError(
                f"base_url: the name {origin.host[:80]!r} does not resolve here; correct it, or mend the name service",
                param="base_url",
            ) from error

    def _sealed(self, spec: ProviderSpec, old: StoredProvider | None, api_key: str | None) -> StoredProvider:
        """Return what is stored: the key sealed for where it may go, or the present one kept."""
        now_us = self._room.clock.now_us()
        spec = msgspec.structs.replace(spec, reach="public", api_key="")
        if api_key is None and old is not None and old.spec.api_key:
            spec = msgspec.structs.replace(spec, api_key=old.spec.api_key)
            if not self._room.opens(spec):
                raise CallerError(
                    "the key was entered for another address, kind or options: enter it again with this change "
                    "(so that nobody can have it sent elsewhere who does not know it)",
                    param="api_key",
                )
        elif api_key:
            spec = msgspec.structs.replace(spec, api_key=self._room.seal.seal(api_key, spec))
        return StoredProvider(
            spec=spec,
            created_us=old.created_us if old else now_us,
            rotated_us=now_us if api_key is not None else old.rotated_us if old else 0,
        )

    async def _check_obeyed(self, spec: ProviderSpec) -> None:
        """Check that a worker could make this provider.

        Raises:
            CallerError: it could not.
        """
        stored = await self._room.stores.app(gather)
        others = tuple(found for found in stored.providers if found.name != spec.name)
        try:
            await self._room.check_provider(spec)
            await self._room.check(msgspec.structs.replace(stored, providers=(*others, spec)))
        except ConfigError as error:
            raise CallerError(error.message) from error


@runtime_checkable
class _Told(Protocol):
    """A provider that says where its requests go."""

    endpoint: str
    """Base URL."""


async def _models(provider: Provider) -> list[str]:
    try:
        async with asyncio.timeout(_TEST_S):
            return await provider.models()
    finally:
        await provider.aclose()


def _sent(spec: ProviderSpec) -> tuple[str, ...]:
    """Return the names of the headers that a provider is sent, its key's own among them."""
    key = ("Authorization",) if spec.api_key else ()
    return tuple(sorted({*key, *spec.headers}, key=str.lower))


def _without_user(url: str) -> str:
    """Return a URL without what may be a user's password."""
    return re.sub(r"(?<=://)[^/]*@", "***@", url)


def _answerer(snapshot: Snapshot, called: str) -> str:
    """Return the provider that a name means under a snapshot; empty: nobody, or several in turn."""
    try:
        name = full_name(snapshot, called)
    except CallerError:
        return ""
    return "" if name is None or name in snapshot.targets else name.partition("/")[0]


def _moved(then: Snapshot, called: str) -> Moved:
    try:
        name = full_name(then, called)
    except CallerError as error:
        return Moved(name=called, goes_to="", error_code=error.code)
    return Moved(name=called, goes_to=name or then.default_model, stands_in=name is None)


def _unknown(name: str) -> NotFound:
    return NotFound(
        f"there is no provider {name[:80]!r}; `trimtab providers list` shows those there are", param="name"
    )
