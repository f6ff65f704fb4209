"""Settings: read and changed at run time, with a history."""

from trimtab.api import Published, SettingRow
from trimtab.serve.child.check import check_payload
from trimtab.types import Actor, CallerError, ConfigError, NotFound, SettingChange

from .compose import with_settings
from .room import Deed, Room
from .tunables import Tunable, applied, text_of, tunables, value_in


class Settings:
    """Settings that may change at run time."""

    _room: Room

    async def settings(self) -> list[SettingRow]:
        """See `api.Objects.settings`."""
        stored = await self._room.stores.app(lambda app: app.settings())
        fixed = self._room.fixed
        policy = with_settings(self._room.base.policy, stored, fixed)
        return [
            SettingRow(
                name=name,
                value=text_of(value_in(policy, name)),
                default=text_of(tunable.default),
                owner="file" if name in fixed else "store" if name in stored else "default",
                kind=tunable.kind,
                choices=tunable.choices,
                about=tunable.about,
            )
            for name, tunable in tunables().items()
        ]

    async def change_setting(self, actor: Actor, name: str, value: str) -> Published:
        """See `api.Objects.change_setting`."""
        tunable = self._tunable(name)
        after = text_of(tunable.read(value)) if value else ""
        async with self._room.changing:
            stored = await self._room.stores.app(lambda app: app.settings())
            self._check(stored | {name: after} if after else {k: v for k, v in stored.items() if k != name})
            change = SettingChange(
                at_us=self._room.clock.now_us(),
                actor=actor.name,
                name=name,
                before=stored.get(name, ""),
                after=after,
            )
            deed = Deed(action="setting.change", object=name, detail={"value": [change.before, change.after]})
            generation = await self._room.change(actor, deed, lambda app: app.change_setting(change))
        return await self._room.wait_for(generation)

    async def setting_changes(self, limit: int = 100) -> list[SettingChange]:
        """See `api.Objects.setting_changes`."""
        return await self._room.stores.app(lambda app: app.setting_changes(limit=limit))

    def _tunable(self, name: str) -> Tunable:
        known = tunables()
        if name not in known:
            raise NotFound(
                f"there is no setting {name[:80]!r} that can be changed at run time; there are: "
                f"{', '.join(known)}",
                param="name",
            )
        if name in self._room.fixed:
            raise CallerError(f"{name} is set by the configuration file; change it there", param="name")
        return known[name]

    def _check(self, stored: dict[str, str]) -> None:
        """Check that all settings together can be obeyed.

        Raises:
            CallerError: they cannot.
        """
        known = tunables()
        values = {
            name: known[name].read(text)
            for name, text in stored.items()
            if name in known and name not in self._room.fixed
        }
        policy = applied(self._room.base.policy, values)
        try:
            check_payload(policy.payload)
        except ConfigError as error:
            raise CallerError(error.message, param="value") from error
