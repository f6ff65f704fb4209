"""Users, sign-ins and the audit log."""

import asyncio
import hmac
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec

from trimtab.access import (
    FailureLimiter,
    expiry,
    hash_password,
    make_token,
    token_hash,
    verify_password,
)
from trimtab.storage import AppStore
from trimtab.types import (
    ROLES,
    Actor,
    AuditEntry,
    CallerError,
    LoginSession,
    NotFound,
    Role,
    Unauthenticated,
    User,
)

from .room import Deed, Room

TOKEN_NAME: Final = "admin-token"  # noqa: S105 - a name, no token
"""Stands in the audit log for whoever holds the installation's token; no user may have this name."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_TOKEN_LOGINS: Final = 100
"""Sign-ins with the installation's token at a time; the oldest gives way."""

_RENEW_US: Final = 60 * 1_000_000
"""A sign-in's end is moved on at most once a minute, so that reading pages does not write."""

_MOST_USERS: Final = 10_000
_WRONG: Final = "name or password is wrong, or the user is disabled"


class People:
    """See `api.People`."""

    def __init__(self, room: Room, token: str) -> None:
        """Prepare.

        Args:
            room: what all parts share.
            token: the installation's own.
        """
        self._room = room
        self._token = token.encode()
        self._limiter = FailureLimiter(room.clock)
        # One at a time: many sign-ins at once take memory and cores from nobody else.
        self._hashing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="passwords")
        self._token_logins: dict[str, LoginSession] = {}
        """Sign-ins with the token end with this process; in the store they would outlive it."""

    def close(self) -> None:
        """End the thread that checks passwords."""
        self._hashing.shutdown(wait=False, cancel_futures=True)

    # Users

    async def users(self) -> list[User]:
        """See `api.People.users`."""
        return [_blank(user) for user in await self._room.stores.app(lambda app: app.users())]

    async def add_user(self, actor: Actor, name: str, role: Role, password: str) -> User:
        """See `api.People.add_user`."""
        _check_role(role)
        if _NAME.fullmatch(name) is None or name.casefold() == TOKEN_NAME:
            raise CallerError(
                f"{name[:80]!r} cannot be a user's name: it has 1 to 64 letters, digits, '.', '-', '_' or '@', begins "
                f"with a letter or digit, and is not {TOKEN_NAME!r}",
                param="name",
            )
        user = User(
            name=name, role=role, password=await self._hash(password), created_us=self._room.clock.now_us()
        )
        async with self._room.changing:
            there = await self._room.stores.app(lambda app: (app.user(name), len(app.users())))
            if there[0] is not None:
                raise CallerError(
                    f"there is a user {there[0].name!r} already; choose another name", param="name"
                )
            if there[1] >= _MOST_USERS:
                raise CallerError(f"there are {_MOST_USERS} users already; remove some")
            deed = Deed(action="user.create", object=name, detail={"role": [None, role]})
            await self._room.do(actor, deed, lambda app: app.put_user(user))
        return _blank(user)

    async def change_user(
        self,
        actor: Actor,
        name: str,
        *,
        role: Role | None = None,
        password: str | None = None,
        disabled: bool | None = None,
    ) -> User:
        """See `api.People.change_user`. The installation's token always is a way in, so nobody is locked out."""
        if role is not None:
            _check_role(role)
        hashed = None if password is None else await self._hash(password)
        async with self._room.changing:
            old = await self._user(name)
            new = msgspec.structs.replace(
                old,
                role=old.role if role is None else role,
                password=old.password if hashed is None else hashed,
                disabled=old.disabled if disabled is None else disabled,
            )
            detail: dict[str, object] = {
                field: [getattr(old, field), getattr(new, field)]
                for field in ("role", "disabled")
                if getattr(old, field) != getattr(new, field)
            }
            if hashed is not None:
                detail["password"] = "changed"  # noqa: S105 - says that, not what

            def change(app: AppStore) -> None:
                """Store the user, and end sign-ins that must not go on."""
                app.put_user(new)
                if hashed is not None or new.disabled:
                    app.end_logins_of(new.name)

            await self._room.do(actor, Deed(action="user.change", object=old.name, detail=detail), change)
        return _blank(new)

    async def remove_user(self, actor: Actor, name: str) -> None:
        """See `api.People.remove_user`."""
        async with self._room.changing:
            old = await self._user(name)
            deed = Deed(action="user.remove", object=old.name, detail={"role": [old.role, None]})
            await self._room.do(actor, deed, lambda app: app.remove_user(old.name))

    async def _user(self, name: str) -> User:
        found = await self._room.stores.app(lambda app: app.user(name))
        if found is None:
            raise NotFound(
                f"there is no user {name[:80]!r}; `trimtab users list` shows those there are", param="name"
            )
        return found

    async def _hash(self, password: str) -> str:
        return await asyncio.get_running_loop().run_in_executor(self._hashing, hash_password, password)

    # Sign-ins

    async def sign_in(self, name: str, password: str, address: str) -> tuple[str, Actor]:
        """See `api.People.sign_in`."""
        self._limiter.begin(name, address)
        user = await self._room.stores.app(lambda app: app.user(name))
        kept = "" if user is None else user.password
        fits = await self._fits(password, kept)
        if user is not None and fits:
            # It may have been disabled, removed or changed while the password was checked.
            user = await self._room.stores.app(lambda app: app.user(name))
        if user is None or not fits or user.disabled or user.password != kept:
            # What was typed as a name may be a password, so only known names are noted.
            known = Actor(
                name=user.name if user else "", role=user.role if user else "viewer", address=address
            )
            deed = Deed(action="session.open", object=known.name or "(unknown name)")
            await self._room.note(known, deed, refused=True)
            raise Unauthenticated(_WRONG, param="password")
        self._limiter.succeeded(name, address)
        plain, login = self._new_login(user.name, user.role)
        actor = Actor(name=user.name, role=user.role, via="console", address=address)
        deed = Deed(action="session.open", object=user.name)
        await self._room.do(actor, deed, lambda app: app.add_login(login))
        return plain, actor

    async def sign_in_with_token(self, token: str, address: str) -> tuple[str, Actor]:
        """See `api.People.sign_in_with_token`."""
        self._limiter.begin("", address)
        actor = Actor(name=TOKEN_NAME, role="admin", via="console", address=address)
        deed = Deed(action="session.open", object=TOKEN_NAME)
        if not self.is_token(token):
            stranger = Actor(name="", role="viewer", address=address)
            await self._room.note(stranger, deed, refused=True)
            raise Unauthenticated(
                "this is not the token of this installation; it stands in run/admin.token of the data folder, and "
                "`trimtab up` prints it",
                param="token",
            )
        self._limiter.succeeded("", address)
        await self._room.note(actor, deed)
        plain, login = self._new_login(TOKEN_NAME, "admin")
        while len(self._token_logins) >= _TOKEN_LOGINS:
            self._token_logins.pop(next(iter(self._token_logins)))
        self._token_logins[login.sha256] = login
        return plain, actor

    def is_token(self, token: str) -> bool:
        """Return whether this is the installation's token; compares in constant time."""
        return hmac.compare_digest(token.encode("utf-8", "surrogatepass"), self._token)

    async def signed_in(self, token: str) -> Actor | None:
        """See `api.People.signed_in`."""
        hashed, now_us = token_hash(token), self._room.clock.now_us()
        login = self._token_logins.get(hashed)
        if login is None:
            login = await self._room.stores.app(lambda app: app.login(hashed, now_us))
        if login is None:
            return None
        if login.expires_us <= now_us:
            self._token_logins.pop(hashed, None)
            return None
        await self._renew(login, now_us)
        return Actor(name=login.user, role=login.role, via="console")

    async def change_password(self, actor: Actor, current: str, password: str) -> tuple[str, Actor]:
        """See `api.People.change_password`."""
        if actor.name == TOKEN_NAME:
            raise CallerError(
                "the installation's token has no password: it changes at every start; make a user for yourself",
                param="current",
            )
        self._limiter.begin(actor.name, actor.address)
        deed = Deed(action="user.password", object=actor.name, detail={"password": "changed"})
        old = await self._user(actor.name)
        if not await self._fits(current, old.password):
            await self._room.note(actor, msgspec.structs.replace(deed, detail={}), refused=True)
            raise CallerError("this is not the present password", param="current")
        if password == current:
            raise CallerError("the new password is the present one; choose another", param="password")
        new = msgspec.structs.replace(old, password=await self._hash(password))
        plain, login = self._new_login(new.name, new.role)

        def change(app: AppStore) -> None:
            """Store the password, and let the new sign-in alone stay."""
            app.put_user(new)
            app.end_logins_of(new.name)
            app.add_login(login)

        async with self._room.changing:
            if await self._user(actor.name) != old:
                raise CallerError("the user was changed meanwhile; sign in and try again", param="current")
            await self._room.do(actor, deed, change)
        self._limiter.succeeded(actor.name, actor.address)
        return plain, msgspec.structs.replace(actor, role=new.role)

    async def _fits(self, password: str, kept: str) -> bool:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._hashing, verify_password, password, kept)

    async def sign_out(self, token: str) -> None:
        """See `api.People.sign_out`."""
        hashed, now_us = token_hash(token), self._room.clock.now_us()
        login = self._token_logins.pop(hashed, None)
        if login is not None:
            actor = Actor(name=login.user, role=login.role, via="console")
            await self._room.note(actor, Deed(action="session.close", object=login.user))
            return
        login = await self._room.stores.app(lambda app: app.login(hashed, now_us))
        if login is not None:
            actor = Actor(name=login.user, role=login.role, via="console")
            deed = Deed(action="session.close", object=login.user)
            await self._room.do(actor, deed, lambda app: app.end_login(hashed))

    def _new_login(self, user: str, role: Role) -> tuple[str, LoginSession]:
        plain, hashed = make_token()
        now_us = self._room.clock.now_us()
        return plain, LoginSession(
            sha256=hashed, user=user, role=role, created_us=now_us, expires_us=expiry(now_us, now_us)
        )

    async def _renew(self, login: LoginSession, now_us: int) -> None:
        ends = expiry(login.created_us, now_us)
        if ends - login.expires_us < _RENEW_US:
            return
        new = msgspec.structs.replace(login, expires_us=ends)
        if login.sha256 in self._token_logins:
            self._token_logins[login.sha256] = new
            return

        def renew(app: AppStore) -> None:
            with app.together():
                # It may have been ended since it was looked up, and must not come back then.
                if app.login(login.sha256, now_us) is not None:
                    app.end_login(login.sha256)
                    app.add_login(new)

        await self._room.stores.app(renew)

    # The audit log

    async def audit(
        self, *, actor: str = "", action: str = "", object: str = "", before: str = "", limit: int = 100
    ) -> list[AuditEntry]:
        """See `api.People.audit`."""
        if not before:
            await self._room.note_counted()
        return await self._room.stores.app(
            lambda app: app.audit(actor=actor, action=action, object=object, before=before, limit=limit)
        )

    async def refused(self, actor: Actor, action: str, object: str) -> None:
        """See `api.People.refused`."""
        await self._room.refuse(actor, Deed(action=action, object=object))


def _blank(user: User) -> User:
    return msgspec.structs.replace(user, password="")


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise CallerError(f"{role[:80]!r} is no role; there are: {', '.join(ROLES)}", param="role")
