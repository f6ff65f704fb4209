"""What the control process publishes and the workers obey: plain, serialisable, hashed part by part."""

from typing import Any, Literal

import msgspec

from .call import PayloadPolicy
from .exchange import Deadlines
from .release import Release
from .resilience import Degraded, Hedge, Resilience

SNAPSHOT_FORMAT = 1

Reach = Literal["any", "public", "private"]
"""Where a provider's address may lead: anywhere, as the file's may; for those added at run time to public addresses
over TLS, or with the file's consent to private ones too, and to loopback without TLS."""


class ProviderSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One configured provider. `kind` names an entry of the `trimtab.providers` table."""

    name: str
    kind: str = "openai"
    base_url: str = ""
    api_key: str = ""
    """As written in the configuration, `${NAME}` unexpanded: secrets do not go into the snapshot file. Added at run
    time: sealed (`sealed:v1:...`)."""
    models: tuple[str, ...] = ()
    """Models it is known to serve; a bare model name resolves by these. Empty: any name is passed on."""
    headers: dict[str, str] = {}
    """Values as written, unexpanded, for the same reason."""
    proxy: str = ""
    """`http://[user:password@]host:port` as written, unexpanded."""
    ca_file: str = ""
    max_connections: int = 1000
    deadlines: Deadlines | None = None
    options: dict[str, Any] = {}
    reach: Reach = "any"
    """`any`: the file declares it. Otherwise it was added at run time: nothing in it is expanded, since whoever adds
    it must not read the environment, and the addresses it leads to are screened at every connection."""


class TargetSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to serve a model: a provider, and the model's name there."""

    provider: str
    model: str
    region: str = ""


class WeightedRelease(msgspec.Struct, frozen=True, kw_only=True):
    """A release's share of a channel."""

    release: str
    weight: int = 1
    arm: str = ""


class RouteSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A name that applications call; each channel points at weighted releases."""

    name: str
    project: str = "default"
    channels: dict[str, tuple[WeightedRelease, ...]] = {}
    cache_ttl_s: float = 0.0
    """How long its replies may be given again to the same caller and request; 0: never."""
    hedge: Hedge | None = None
    degraded: Degraded | None = None


class KeySpec(msgspec.Struct, frozen=True, kw_only=True):
    """A key that an application holds; only its SHA-256 is kept."""

    id: str
    sha256: str
    name: str = ""
    project: str = "default"
    payload: PayloadPolicy | None = None
    created_us: int = 0
    cache_ttl_s: float | None = None
    """How long replies may be given again to its holder, on every route and model; None: as the route says."""


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often and how soon a target is tried again."""

    attempts: int = 3
    """Tries per target, the first included."""
    backoff_s: float = 0.25
    """First pause; doubles each time, with full jitter."""
    backoff_max_s: float = 8.0
    retry_after_max_s: float = 20.0
    """A provider that asks for a longer pause is left for the next target instead."""


LimitPer = Literal["rule", "key", "project", "user", "model"]
BudgetPer = Literal["rule", "key", "project", "user", "route"]
"""What has a bucket, or an account, of its own: the whole rule, or each distinct key, project, ..."""

BudgetPeriod = Literal["hour", "day", "week", "month", "total"]
"""Of the UTC calendar, weeks from Monday; `total` never ends."""


class LimitSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How fast calls may come. Empty fields match any call; 0 does not limit."""

    name: str
    key: str = ""
    """Id or name of a key."""
    project: str = ""
    route: str = ""
    model: str = ""
    """`provider/model` as resolved, or a beginning of it with a `*` at the end."""
    per: LimitPer = "rule"
    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    """Input and output together."""
    concurrency: int = 0
    """Calls under way at once."""
    burst_s: float = 0.5
    """How many seconds' worth may come at once after a pause; one request always may."""


class BudgetSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What calls may cost in a period. Empty fields match any call."""

    name: str
    amount_nusd: int
    key: str = ""
    """Id or name of a key."""
    project: str = ""
    route: str = ""
    model: str = ""
    """`provider/model` as resolved, or a beginning of it with a `*` at the end."""
    per: BudgetPer = "rule"
    period: BudgetPeriod = "month"
    hard: bool = True
    """Whether calls beyond it are refused; else they are only noted."""
    strict: bool = False
    """Refuse a call whose upper bound is over what is left even where nothing else is under way."""
    unpriced: Literal["allow", "refuse"] = "allow"
    """What becomes of a call whose model has no known price; allowed ones count as 0, and are flagged."""
    alert_at: tuple[float, ...] = (0.5, 0.8, 1.0)
    """Shares of the amount at which an event is noted, once a period."""
    wait_s: float = 5.0
    """How long a call waits for room that only calls under way still hold."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for every call."""

    open_access: bool = True
    payload: PayloadPolicy = "full"
    on_ledger_failure: str = "refuse"
    durability: str = "process"
    deadlines: Deadlines = Deadlines()
    retry: RetryPolicy = RetryPolicy()
    resilience: Resilience = Resilience()
    max_request_bytes: int = 32 * 1024 * 1024
    max_reply_bytes: int = 64 * 1024 * 1024
    private_addresses: bool = False
    """Whether providers added at run time may reach private addresses."""
    retention_days: int = 0
    """Days that calls are kept besides today; 0: for good."""
    disk_gb: float = 0.0
    """What recorded calls may take on disk, in 10^9 bytes, before the oldest days go; 0: no limit."""
    cache_mb: int = 256
    """What kept replies may take on disk, in 10^6 bytes."""
    project_retention: dict[str, int] = {}
    """Project → days that its calls are kept besides today, where it says so; see `Project.retention_days`."""
    assumed_output_tokens: int = 4096
    """What a call that names no `max_tokens` is assumed to answer at most, where limits and budgets reserve."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One generation of everything a worker needs to answer calls."""

    generation: int
    policy: Policy = Policy()
    providers: tuple[ProviderSpec, ...] = ()
    targets: dict[str, tuple[TargetSpec, ...]] = {}
    """`provider/model` → the targets that serve it, where more than the obvious one do."""
    routes: tuple[RouteSpec, ...] = ()
    releases: dict[str, Release] = {}
    """Release id → release."""
    keys: tuple[KeySpec, ...] = ()
    limits: tuple[LimitSpec, ...] = ()
    budgets: tuple[BudgetSpec, ...] = ()
    default_model: str = ""
    """Answers when a caller names no model that exists nowhere; empty: none does."""
    catalog: dict[str, Any] = {}
    """Overrides of model facts and prices, in the catalog file's format."""
    read_us: int = 0
    """When the configuration was read: providers whose secrets come from files and commands are made anew when it
    differs, so that they see what has changed there."""
