"""What may be said of a provider at run time, and what the audit log says of a change."""

import re
from typing import Final

import msgspec

from trimtab.config import OWN, header_problems
from trimtab.types import CallerError, ProviderSpec, StoredProvider

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_RESERVED: Final = frozenset({OWN, "route", "prompt"})
_LONGEST_KEY: Final = 4096
MOST_MODELS: Final = 2000
_SECRET_HEADERS: Final = frozenset(
    {"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-goog-api-key"}
)
"""Headers that carry a key: the values of headers are stored as they are, a key is sealed."""

_FRAMING: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect"}
)
"""Headers that decide how a request is read: not for whoever adds a provider to say."""


def changes(old: StoredProvider | None, new: StoredProvider, api_key: str | None) -> dict[str, object]:
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
            "deadlines": msgspec.to_builtins(spec.deadlines),
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
    if len(spec.models) > MOST_MODELS or any(
        not 0 < len(m) <= 200 or not m.isprintable() for m in spec.models
    ):
        raise CallerError(
            f"models: at most {MOST_MODELS} names of 1 to 200 printable characters", param="models"
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
