"""Settings that may change at run time: under the file's own names, with its types, defaults and descriptions."""

from collections.abc import Mapping
from typing import Any, Final, Literal, get_args, get_origin

import msgspec

from trimtab.config import Document, expectation
from trimtab.types import CallerError, Policy

_DIRECT: Final = {
    "data.payload": "payload",
    "data.on_ledger_failure": "on_ledger_failure",
    "data.retention_days": "retention_days",
    "data.disk_gb": "disk_gb",
    "access.open": "open_access",
}
"""Setting → field of `Policy`; every field of these tables stands beside them, under its own name:"""

_NESTED: Final = ("deadlines", "retry")


class Tunable(msgspec.Struct, frozen=True, kw_only=True):
    """One setting that may change at run time."""

    name: str
    hint: Any
    """Its type, as the configuration's schema has it."""
    default: Any
    about: str

    @property
    def kind(self) -> Literal["text", "number", "choice", "flag"]:
        """Return how people enter it."""
        bare = self._bare()
        if bare is bool:
            return "flag"
        return "choice" if self.choices else "number" if bare in (int, float) else "text"

    @property
    def choices(self) -> tuple[str, ...]:
        """Return the texts it takes; empty where it is no choice."""
        bare = self._bare()
        return tuple(map(str, get_args(bare))) if get_origin(bare) is Literal else ()

    def _bare(self) -> Any:  # noqa: ANN401 - a type
        return self.hint.__origin__ if hasattr(self.hint, "__metadata__") else self.hint

    def read(self, text: str) -> Any:  # noqa: ANN401 - whatever the setting holds
        """Return the value that a text means.

        Raises:
            CallerError: it means none.
        """
        try:
            return msgspec.convert(text, self.hint, strict=False)
        except msgspec.ValidationError as error:
            raise CallerError(
                f"{self.name}: {text[:80]!r} cannot be used; it takes {expectation(self.hint)}", param="value"
            ) from error


def text_of(value: object) -> str:
    """Return a setting's value as people enter it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def tunables() -> dict[str, Tunable]:
    """Return all settings that may change at run time, by name."""
    found = {}
    for section in msgspec.structs.fields(Document):
        for field in msgspec.structs.fields(section.type) if _is_struct(section.type) else ():
            name = f"{section.name}.{field.name}"
            if section.name in _NESTED or name in _DIRECT:
                (meta,) = (m for m in field.type.__metadata__ if m.description)
                found[name] = Tunable(
                    name=name, hint=field.type, default=field.default, about=meta.description
                )
    return found


def _is_struct(hint: Any) -> bool:  # noqa: ANN401 - a type
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)


def value_in(policy: Policy, name: str) -> object:
    """Return a setting's value in a policy."""
    section, _, field = name.partition(".")
    return getattr(getattr(policy, section), field) if section in _NESTED else getattr(policy, _DIRECT[name])


def applied(policy: Policy, values: Mapping[str, object]) -> Policy:
    """Return a policy with settings laid over it.

    Raises:
        CallerError: together they cannot be used.
    """
    for name, value in values.items():
        section, _, field = name.partition(".")
        if section in _NESTED:
            part = msgspec.structs.replace(getattr(policy, section), **{field: value})
            policy = msgspec.structs.replace(policy, **{section: part})
        else:
            policy = msgspec.structs.replace(policy, **{_DIRECT[name]: value})
    if policy.retry.backoff_max_s < policy.retry.backoff_s:
        raise CallerError(
            f"retry.backoff_max_s ({policy.retry.backoff_max_s:g}) would be below retry.backoff_s "
            f"({policy.retry.backoff_s:g}); raise it, or lower the other first",
            param="value",
        )
    return policy
