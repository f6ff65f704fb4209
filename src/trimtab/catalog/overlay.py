"""How tables combine: a user's overrides over the packaged table, `like`, and dated snapshots of a family."""

from typing import Any, TypeVar

import msgspec

from trimtab.types import ConfigError

from .format import CatalogFile, ModelEntry, Profile, ProviderEntry, decode

_FIRST_YEAR, _LAST_MONTH, _LAST_DAY = "2000", 12, 31

_Facts = TypeVar("_Facts", Profile, ProviderEntry)


def lay_over(base: CatalogFile, over: CatalogFile) -> CatalogFile:
    """Return `base` with everything that `over` says put over it, model by model and field by field."""
    providers = dict(base.providers)
    for name, provider in over.providers.items():
        providers[name] = _filled(provider, providers.get(name, ProviderEntry()))
    models = dict(base.models)
    for name, entry in over.models.items():
        models[name] = _over_entry(models[name], entry) if name in models else entry
    return msgspec.structs.replace(
        base,
        version=over.version or base.version,
        note=over.note or base.note,
        providers=providers,
        models=models,
    )


def stack(*layers: bytes | dict[str, Any]) -> dict[str, Any]:
    """Return several tables as one, each laid over those before it, as parsed JSON.

    Raises:
        ConfigError: one of them is not in the format.
    """
    table = decode(layers[0], "the first table")
    for layer in layers[1:]:
        if layer:
            table = lay_over(table, decode(layer, "catalog overrides"))
    made: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(table))
    return made


def resolve_like(name: str, table: CatalogFile) -> ModelEntry:
    """Return a model's entry with what it takes over from the one it is `like`.

    Raises:
        ConfigError: that one does not exist, or is itself like another.
    """
    entry = table.models[name]
    if not entry.like:
        return entry
    target = table.models.get(entry.like)
    if target is None:
        raise ConfigError(
            f"catalog: models[{name!r}].like names {entry.like!r}, which has no entry; name one that has"
        )
    if target.like:
        raise ConfigError(
            f"catalog: models[{name!r}].like names {entry.like!r}, which is itself like {target.like!r};"
            " name that one"
        )
    return msgspec.structs.replace(_over_entry(target, entry), like=entry.like)


def family(model: str, shape: str) -> str:
    """Return a dated snapshot's name without its date, or nothing where it does not end in one.

    >>> family("openai/gpt-4o-mini-2024-07-18", "-YYYY-MM-DD")
    'openai/gpt-4o-mini'
    >>> family("openai/gpt-4o-mini-preview", "-YYYY-MM-DD")
    ''
    """
    end = model[-len(shape) :]
    if not shape or len(model) <= len(shape):
        return ""
    digits = {"Y": "", "M": "", "D": ""}
    for char, want in zip(end, shape, strict=True):
        if want == "-":
            if char != "-":
                return ""
        elif not ("0" <= char <= "9"):
            return ""
        else:
            digits[want] += char
    return model[: -len(shape)] if _is_date(digits["Y"], digits["M"], digits["D"]) else ""


def _is_date(year: str, month: str, day: str) -> bool:
    """Whether the digits could be a date: enough to tell one from a version or a size."""
    if year and year < _FIRST_YEAR[: len(year)]:
        return False
    if month and not 1 <= int(month) <= _LAST_MONTH:
        return False
    return not day or 1 <= int(day) <= _LAST_DAY


def _over_entry(base: ModelEntry, over: ModelEntry) -> ModelEntry:
    profile = over.profile
    if isinstance(profile, Profile) and isinstance(base.profile, Profile):
        profile = _filled(profile, base.profile)
    return ModelEntry(
        like=over.like or base.like,
        profile=base.profile if profile is msgspec.UNSET else profile,
        prices=base.prices if over.prices is msgspec.UNSET else over.prices,
    )


def _filled(over: _Facts, base: _Facts) -> _Facts:
    """Return `over` with each field that it leaves unknown taken from `base`."""
    gaps = {
        field: getattr(base, field) for field in over.__struct_fields__ if _is_unknown(getattr(over, field))
    }
    return msgspec.structs.replace(over, **gaps)


def _is_unknown(value: object) -> bool:
    return value is None or value == "" or (type(value) is int and value == 0)
