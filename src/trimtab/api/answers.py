"""What the control process answers, beside what `types` and `storage` define."""

from typing import Literal

import msgspec

from trimtab.types import BudgetSpec, Deadlines, LimitSpec


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
    headers: tuple[str, ...] = ()
    """Names of the headers sent with every request; their values may be secret."""
    max_connections: int = 1000
    deadlines: Deadlines | None = None
    """None: as the installation's settings say."""
    options: tuple[str, ...] = ()
    """Names of what else its kind is told."""
    proxy: str = ""
    """As the file has it, without user and password."""
    ca_file: str = ""


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """Where calls by one name would go if a provider were removed."""

    name: str
    """As callers write it; `…` stands for any model's name."""
    goes_to: str
    """`provider/model` that would be asked; empty: they would be refused."""
    stands_in: bool = False
    """Whether that is the default model, which answers for unknown names."""
    error_code: str = ""
    """Why they would be refused."""


class ProviderTest(msgspec.Struct, frozen=True, kw_only=True):
    """What asking a provider for its models came to."""

    ok: bool
    took_ms: int
    asked: str = ""
    """What was sent, as `GET https://host/v1/models`; empty: where it goes is not known beforehand."""
    sent: tuple[str, ...] = ()
    """Names of the headers that were sent with it, the key's own among them."""
    proxy: str = ""
    """Through which proxy, without user and password."""
    patience_s: float = 0.0
    """How long an answer was waited for at most."""
    models: tuple[str, ...] = ()
    error_code: str = ""
    message: str = ""


class LimitUse(msgspec.Struct, frozen=True, kw_only=True):
    """How a limit stands for one subject."""

    subject: str
    """Key, project, user or model; empty where the whole rule has one bucket."""
    under_way: int
    """Calls at once; counted where the limit is on those."""
    requests_left: int
    """How many may come at once now."""
    tokens_left: int


class LimitRow(msgspec.Struct, frozen=True, kw_only=True):
    """A limit, and how it stands now."""

    spec: LimitSpec
    owner: Literal["file", "store"]
    """`file`: the configuration file declares it, and it is read-only here."""
    subjects: int
    """How many are known of; `uses` has the first 100."""
    uses: tuple[LimitUse, ...] = ()


class BudgetUse(msgspec.Struct, frozen=True, kw_only=True):
    """How a budget stands for one subject, in its present period."""

    subject: str
    """Key, project, user or route; empty where the whole rule has one account."""
    spent_nusd: int
    reserved_nusd: int
    """Held for calls under way."""
    remaining_nusd: int
    """0 where more is spent than the amount."""


class BudgetRow(msgspec.Struct, frozen=True, kw_only=True):
    """A budget, and how it stands now."""

    spec: BudgetSpec
    amount_usd: float
    owner: Literal["file", "store"]
    """`file`: the configuration file declares it, and it is read-only here."""
    start_us: int
    end_us: int
    """Of the present period."""
    spent_nusd: int
    reserved_nusd: int
    """Of all subjects together."""
    remaining_nusd: int
    """Of the subject with the least."""
    subjects: int
    """How many are known of; `uses` has the 100 that spent most."""
    uses: tuple[BudgetUse, ...] = ()


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
