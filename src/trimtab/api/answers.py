"""What the control process answers, beside what `types` and `storage` define."""

from typing import Literal

import msgspec


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a change."""

    generation: int
    obeyed: bool
    """Whether every living worker obeys it by now."""
    waiting: tuple[str, ...] = ()
    """Workers that have not reported it in time; they will obey as soon as they can."""
    notes: tuple[str, ...] = ()
    """What the caller should know, such as settings that take a restart."""


class ConfigChange(msgspec.Struct, frozen=True, kw_only=True):
    """One setting that a reading of the configuration changed. Secrets are hidden; `#...` tells two apart."""

    name: str
    """Dotted, such as `routes.support.production`."""
    before: str
    """As JSON; empty where there was none."""
    after: str


class ConfigReading(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of the configuration."""

    at_us: int
    actor: str
    """Who asked; `system` for a start, a signal or the watch."""
    cause: Literal["start", "reload"]
    taken: bool
    """False: it was refused, and what was in force stayed."""
    sha256: str = ""
    """Of the configuration without its secrets."""
    changes: tuple[ConfigChange, ...] = ()
    left_out: int = 0
    """Further changes, that are not listed."""
    notes: tuple[str, ...] = ()
    """Settings that take a restart."""
    error: str = ""


class ProviderRow(msgspec.Struct, frozen=True, kw_only=True):
    """A provider as it may be shown: no secret in it."""

    name: str
    kind: str
    base_url: str
    models: tuple[str, ...]
    owner: Literal["file", "store"]
    """Whether the configuration file declares it, and it is read-only here."""
    key_set: bool
    key_hint: str = ""
    """`${NAME}` as the file has it, or the last four characters of a key of 20 or more."""
    rotated_us: int = 0


class ProviderTest(msgspec.Struct, frozen=True, kw_only=True):
    """What asking a provider for its models came to."""

    ok: bool
    took_ms: int
    models: tuple[str, ...] = ()
    error_code: str = ""
    message: str = ""


class SettingRow(msgspec.Struct, frozen=True, kw_only=True):
    """A setting that can be changed while Trimtab runs."""

    name: str
    """As in the configuration file: `data.payload`."""
    value: str
    default: str
    owner: Literal["file", "store", "default"]
    """`file`: the configuration file sets it, and it is read-only here."""
    kind: Literal["text", "number", "choice", "flag"]
    choices: tuple[str, ...] = ()
    about: str = ""


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """What an erasure removed."""

    calls: int
    log_records: int
    """Records blanked in segments of the append log."""
    backups: tuple[str, ...] = ()
    """Backups made before, which hold the data still; delete them yourself."""


class Restarted(msgspec.Struct, frozen=True, kw_only=True):
    """How far a rolling restart of the workers is."""

    replaced: int
    """Workers that a new one has taken over from; the old ones finish their calls."""
    done: bool
    """False: it goes on."""
    error: str = ""
    """Why it was given up; the workers that were there go on."""


class DemoFilled(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a wish to fill the demo."""

    calls: int
    """Written now; 0: it is there already."""
    feedback: int = 0
    replaced: int = 0
    """Calls of an older demo that gave way."""
