"""Providers: those of the file are shown, those of the store are added, tested, changed and removed here."""

import asyncio
import re
from typing import Final

import msgspec

from trimtab.access import is_sealed, permits
from trimtab.api import ProviderRow, ProviderTest, Published
from trimtab.config import OWN, header_problems, shown_reference
from trimtab.providers import ProviderContext, make_provider
from trimtab.providers.transport import parse_origin, screened
from trimtab.types import (
    Actor,
    AddressRefused,
    CallerError,
    ConfigError,
    Forbidden,
    NotFound,
    ProviderSpec,
    Reach,
    StoredProvider,
    TotalTimeout,
    TrimtabError,
)

from .compose import gather
from .room import Deed, Room

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_RESERVED: Final = frozenset({OWN, "route", "prompt"})

_HINT: Final = 4
_HINTED: Final = 20
"""Characters of a key at least, for its last four to be shown."""

_TEST_S: Final = 10.0
_RESOLVE_S: Final = 5.0
_LONGEST_KEY: Final = 4096
_MOST_MODELS: Final = 2000
_MOST_PROVIDERS: Final = 200
_SECRET_HEADERS: Final = frozenset(
    {"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-goog-api-key"}
)
"""Headers that carry a key: the values of headers are stored as they are, a key is sealed."""

_FRAMING: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect"}
)
"""Headers that decide how a request is read: not for whoever adds a provider to say."""


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
            base_url=re.sub(r"(?<=://)[^/@]*@", "***@", spec.base_url),
            models=spec.models,
            owner="file" if owner == "file" else "store",
            key_set=bool(spec.api_key),
            key_hint=self._hint(spec),
            rotated_us=found.rotated_us,
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
                detail=_changes(old, new, api_key),
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
            await self._room.note(actor, Deed(action="provider.rotate", object=name), refused=True)
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

    async def test_provider(self, actor: Actor, name: str) -> ProviderTest:
        """See `api.Objects.test_provider`."""
        snapshot = await self._room.stores.app(lambda _: self._room.stores.snapshots.load())
        spec = {found.name: found for found in snapshot.providers}.get(name)
        if spec is None:
            raise _unknown(name)
        clock = self._room.clock
        began = clock.monotonic()
        models: list[str] = []
        failure: TrimtabError | None = None
        try:
            models = await self._ask(spec)
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
            models=tuple(sorted(models)[:_MOST_MODELS]),
            error_code=code,
            message=self._without_secrets(failure.message, spec) if failure else "",
        )

    async def _ask(self, spec: ProviderSpec) -> list[str]:
        context = ProviderContext(run_dir=self._room.layout.run, unseal=self._room.seal.open)
        provider = await asyncio.to_thread(make_provider, spec, context)
        try:
            async with asyncio.timeout(_TEST_S):
                return await provider.models()
        finally:
            await provider.aclose()

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


def _unknown(name: str) -> NotFound:
    return NotFound(
        f"there is no provider {name[:80]!r}; `trimtab providers list` shows those there are", param="name"
    )


def _changes(old: StoredProvider | None, new: StoredProvider, api_key: str | None) -> dict[str, object]:
    """Return what the audit log says of a change: no key, and no header's or option's value."""

    def shown(found: StoredProvider | None) -> dict[str, object]:
        if found is None:
            return {}
        spec = found.spec
        return {
            "kind": spec.kind,
            "base_url": spec.base_url,
            "models": list(spec.models),
            "headers": sorted(spec.headers),
            "max_connections": spec.max_connections,
            "options": sorted(spec.options),
        }

    before, after = shown(old), shown(new)
    detail: dict[str, object] = {
        name: [before.get(name), value] for name, value in after.items() if before.get(name) != value
    }
    if api_key is not None:
        detail["api_key"] = "set" if api_key else "removed"
    return detail


def check_spec(spec: ProviderSpec) -> None:
    """Check what may be said of a provider at run time.

    Raises:
        CallerError: a field cannot be used, or is the file's to say.
    """
    if _NAME.fullmatch(spec.name) is None or spec.name in _RESERVED:
        raise CallerError(
            f"{spec.name[:80]!r} cannot be a provider's name: it has 1 to 64 letters, digits, '.', '_' and '-', begins "
            f"with a letter or digit, and is none of {', '.join(sorted(_RESERVED))}",
            param="name",
        )
    for field in ("proxy", "ca_file"):
        if getattr(spec, field):
            raise CallerError(
                f"{field} can be set in the configuration file only; declare this provider in trimtab.toml",
                param=field,
            )
    if len(spec.models) > _MOST_MODELS or any(
        not 0 < len(m) <= 200 or not m.isprintable() for m in spec.models
    ):
        raise CallerError(
            f"models: at most {_MOST_MODELS} names of 1 to 200 printable characters", param="models"
        )
    if not 1 <= spec.max_connections <= 10_000:
        raise CallerError("max_connections must be from 1 to 10,000", param="max_connections")
    if spec.deadlines is not None and any(
        not 0 < limit <= 86_400 for limit in msgspec.structs.astuple(spec.deadlines)
    ):
        raise CallerError("deadlines: each is more than 0 and at most 86,400 seconds", param="deadlines")
    _check_headers(spec.headers)


def _check_headers(headers: dict[str, str]) -> None:
    for problem in header_problems({name: value.replace("${", "") for name, value in headers.items()}, {}):
        raise CallerError(problem, param="headers")
    for name, value in headers.items():
        if name.lower() in _SECRET_HEADERS:
            raise CallerError(
                f"headers: {name!r} carries a key, and headers are stored as they are; give it as api_key, which is "
                "sealed, or declare this provider in trimtab.toml",
                param="headers",
            )
        if name.lower() in _FRAMING:
            raise CallerError(f"headers: {name!r} is Trimtab's own to send", param="headers")
        if "${" in value:
            raise CallerError(
                f"headers: {name!r} refers to a variable; the environment is read for providers of trimtab.toml only",
                param="headers",
            )


def check_key(api_key: str | None) -> None:
    """Check a key that was entered; the message does not show it.

    Raises:
        CallerError: it cannot be sent in a header, or looks like a reference.
    """
    if api_key is None:
        return
    if len(api_key) > _LONGEST_KEY or any(not 32 < ord(c) < 256 or ord(c) == 127 for c in api_key):
        raise CallerError(
            f"api_key (not shown) must have at most {_LONGEST_KEY} characters, without spaces, line breaks or "
            "characters beyond Latin-1; was it copied from a formatted page?",
            param="api_key",
        )
    if "${" in api_key:
        raise CallerError(
            "api_key refers to a variable; the environment is read for providers of trimtab.toml only. Enter the key "
            "itself",
            param="api_key",
        )
