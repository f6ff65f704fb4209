"""What the control process publishes and the workers obey: plain, serialisable, hashed part by part."""

from typing import Any, Literal

import msgspec

from .call import PayloadPolicy
from .exchange import Deadlines
from .release import Release

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


class KeySpec(msgspec.Struct, frozen=True, kw_only=True):
    """A key that an application holds; only its SHA-256 is kept."""

    id: str
    sha256: str
    name: str = ""
    project: str = "default"
    payload: PayloadPolicy | None = None
    created_us: int = 0


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often and how soon a target is tried again."""

    attempts: int = 3
    """Tries per target, the first included."""
    backoff_s: float = 0.25
    """First pause; doubles each time, with full jitter."""
    backoff_max_s: float = 8.0
    retry_after_max_s: float = 20.0
    """A provider that asks for a longer pause is left for the next target instead."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for every call."""

    open_access: bool = True
    payload: PayloadPolicy = "full"
    on_ledger_failure: str = "refuse"
    durability: str = "process"
    deadlines: Deadlines = Deadlines()
    retry: RetryPolicy = RetryPolicy()
    max_request_bytes: int = 32 * 1024 * 1024
    max_reply_bytes: int = 64 * 1024 * 1024
    private_addresses: bool = False
    """Whether providers added at run time may reach private addresses."""
    retention_days: int = 0
    """Days that calls are kept besides today; 0: for good."""
    disk_gb: float = 0.0
    """What recorded calls may take on disk, in 10^9 bytes, before the oldest days go; 0: no limit."""
    project_retention: dict[str, int] = {}
    """Project → days that its calls are kept besides today, where it says so; see `Project.retention_days`."""


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
    default_model: str = ""
    """Answers when a caller names no model that exists nowhere; empty: none does."""
    catalog: dict[str, Any] = {}
    """Overrides of model facts and prices, in the catalog file's format."""
    read_us: int = 0
    """When the configuration was read: providers whose secrets come from files and commands are made anew when it
    differs, so that they see what has changed there."""
