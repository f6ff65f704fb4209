"""What may stand in a `trimtab.toml`: one Struct a section, one described field a setting.

The reference page (docs/reference/configuration.md) is made from these classes, so a description is written
for its reader: one sentence, the unit where the name does not say it.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from trimtab.types import PayloadPolicy

from .alerts import AlertSection, WebhookSection
from .limits import BudgetSection, LimitSection
from .resilience import DegradedSection, HedgeSection, Pause, ResilienceSection, Seconds
from .telemetry import TelemetrySection

Port = Annotated[int, Meta(ge=1, le=65535)]


class Gateway(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where applications call."""

    host: Annotated[str, Meta(description="Address to listen on. Any but a loopback address needs keys.")] = (
        "127.0.0.1"
    )
    port: Annotated[Port, Meta(description="Port to listen on.")] = 8400
    workers: Annotated[
        int, Meta(ge=1, le=256, description="Worker processes; they share the port. One core each is enough.")
    ] = 1
    backpressure: Annotated[
        int, Meta(ge=1, description="Connections a worker holds at most, idle ones included.")
    ] = 20_000
    idle_timeout_s: Annotated[
        Seconds,
        Meta(
            description="How long a connection may take for a request's head, idle time before it "
            "included; how long a body or the taking of a reply may stand still.",
        ),
    ] = 75.0
    drain_s: Annotated[
        float,
        Meta(ge=0, description="At a stop, how long open calls may take to finish before they are cut."),
    ] = 30.0
    max_request_bytes: Annotated[int, Meta(ge=1024, description="Largest request body accepted.")] = (
        32 * 1024 * 1024
    )
    max_reply_bytes: Annotated[int, Meta(ge=1024, description="Largest answer taken from a provider.")] = (
        64 * 1024 * 1024
    )
    assumed_output_tokens: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            description="What limits and budgets reserve for the answer of a call that names no `max_tokens`; less "
            "where the model is known to answer less.",
        ),
    ] = 4096


class Console(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where people and the command line look."""

    host: Annotated[str, Meta(description="Address of the console and the admin API.")] = "127.0.0.1"
    port: Annotated[Port, Meta(description="Port of the console and the admin API.")] = 8401


class Data(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept, and how safely."""

    dir: Annotated[
        str,
        Meta(
            description="Folder of everything stored; relative to this file. "
            "Empty: `$XDG_DATA_HOME/trimtab`, else `~/.local/share/trimtab`."
        ),
    ] = ""
    payload: Annotated[
        PayloadPolicy,
        Meta(description="What is kept of requests and answers, where key and project say nothing else."),
    ] = "full"
    durability: Annotated[
        Literal["process", "power"],
        Meta(
            description="What a recorded call survives: `process`, the death of any process; "
            "`power`, also a power cut (each call waits for the disk)."
        ),
    ] = "process"
    on_ledger_failure: Annotated[
        Literal["refuse", "serve"],
        Meta(description="When a call cannot be recorded (disk full): refuse it, or serve and count it."),
    ] = "refuse"
    retention_days: Annotated[
        int,
        Meta(
            ge=0,
            le=36500,
            description="Days that calls are kept besides today, in UTC; older days are deleted. 0: for good.",
        ),
    ] = 0
    disk_gb: Annotated[
        float,
        Meta(
            ge=0,
            description="What recorded calls may take on disk, in 10^9 bytes; beyond it the oldest days are deleted, "
            "never today. 0: no limit.",
        ),
    ] = 0.0


class Access(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may call."""

    open: Annotated[
        bool,
        Meta(
            description="Let callers on this machine in without a key. Holds only on a loopback address, for "
            "requests that neither a proxy nor a foreign web page sent."
        ),
    ] = True


class DeadlineSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long each phase of a call may take."""

    connect_s: Annotated[Seconds, Meta(description="To connect to the provider.")] = 5.0
    first_byte_s: Annotated[
        Seconds, Meta(description="From sending the request to the head of the answer.")
    ] = 120.0
    idle_s: Annotated[Seconds, Meta(description="Between two pieces of a started answer.")] = 60.0
    total_s: Annotated[Seconds, Meta(description="The whole call, retries and fallbacks included.")] = 600.0


class RetrySection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often and how soon a provider is tried again."""

    attempts: Annotated[int, Meta(ge=1, le=20, description="Tries per target, the first included.")] = 3
    backoff_s: Annotated[Pause, Meta(description="First pause; doubles each time, with full jitter.")] = 0.25
    backoff_max_s: Annotated[Pause, Meta(description="Longest pause.")] = 8.0
    retry_after_max_s: Annotated[
        float,
        Meta(
            ge=0, description="A provider that asks for a longer pause is left for the next target instead."
        ),
    ] = 20.0


class Own(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The own model: it runs on this machine, and answers when nothing else is configured."""

    enabled: Annotated[bool, Meta(description="Whether `own/...` can be called.")] = True
    model: Annotated[
        str,
        Meta(
            description="Its name after `own/`. Empty: the file's name, the model at the URL, or the "
            "downloaded model's name."
        ),
    ] = ""
    model_path: Annotated[
        str, Meta(description="A GGUF file to run instead of the downloaded model; relative to this file.")
    ] = ""
    url: Annotated[
        str, Meta(description="Base URL of an OpenAI-compatible server to use as the own model instead.")
    ] = ""
    api_key: Annotated[str, Meta(description="Key for the server at that URL. Write `${NAME}`.")] = ""
    threads: Annotated[int, Meta(ge=0, description="Threads to compute with; 0: all cores but one.")] = 0
    context: Annotated[int, Meta(ge=0, description="Context length in tokens; 0: 3,072.")] = 0


class ProviderSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One provider: who serves models. The name is the part before the slash in `provider/model`."""

    kind: Annotated[
        str, Meta(min_length=1, description="Entry of the `trimtab.providers` table: its protocol.")
    ] = "openai"
    base_url: Annotated[str, Meta(description="Base URL, `/v1` included. Empty: the kind's own default.")] = (
        ""
    )
    api_key: Annotated[
        str,
        Meta(description="Key sent to it. Write `${NAME}`: it is read from the environment when it is used."),
    ] = ""
    models: Annotated[
        tuple[str, ...],
        Meta(description="Models it is known to serve; a bare model name resolves by these."),
    ] = ()
    headers: Annotated[
        dict[str, str],
        Meta(description="Headers sent with every request. Write `${NAME}` for secrets in them."),
    ] = {}
    proxy: Annotated[
        str, Meta(description="HTTP proxy to reach it through: `http://[user:password@]host:port`.")
    ] = ""
    ca_file: Annotated[
        str, Meta(description="PEM file of certificate authorities to trust as well; relative to this file.")
    ] = ""
    max_connections: Annotated[
        int, Meta(ge=1, description="Open connections a worker keeps to it at most.")
    ] = 1000
    deadlines: Annotated[
        DeadlineSection | None, Meta(description="Deadlines of its own; what is missing has the default.")
    ] = None
    options: Annotated[dict[str, Any], Meta(description="Whatever else its kind understands.")] = {}


class Target(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to serve a model."""

    provider: Annotated[str, Meta(min_length=1, description="Name of the provider.")]
    model: Annotated[str, Meta(min_length=1, description="The model's name there.")]
    region: Annotated[str, Meta(description="For people and metrics only.")] = ""


class ModelSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model that several targets serve: any of them must do; they are balanced by health and load."""

    targets: Annotated[tuple[Target, ...], Meta(min_length=1, description="The ways to serve it.")]


class RouteSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A name that applications call as `route/NAME`."""

    model: Annotated[str, Meta(min_length=1, description="`provider/model` that answers.")]
    fallbacks: Annotated[
        tuple[str, ...], Meta(description="Models to try in this order when it cannot answer.")
    ] = ()
    parameters: Annotated[
        dict[str, Any], Meta(description="Defaults of request parameters; what the caller sends wins.")
    ] = {}
    cache_ttl_s: Annotated[
        float,
        Meta(
            ge=0,
            le=31_536_000,
            description="How long a reply is given again to the same key for the same request. 0: never.",
        ),
    ] = 0.0
    hedge: Annotated[
        HedgeSection | None, Meta(description="Ask a second time when an answer is late. Left out: never.")
    ] = None
    degraded: Annotated[
        DegradedSection | None,
        Meta(description="What answers when all others are gone. Left out: nothing does."),
    ] = None


class Outbound(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where providers that are added in the console, over the admin API or by `trimtab providers` may lead.

    Those declared here may lead anywhere.
    """

    private_addresses: Annotated[
        bool,
        Meta(
            description="Let them reach private and loopback addresses too, and loopback without TLS. Whoever may "
            "add a provider then reaches what this machine can reach."
        ),
    ] = False


class Cache(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Replies that are given again; only routes and keys with a `cache_ttl_s` use it."""

    max_mb: Annotated[
        int, Meta(ge=1, le=1_000_000, description="What they may take on disk, in 10^6 bytes.")
    ] = 256


class Reload(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When this file is read again; a SIGHUP and `trimtab config reload` always do that."""

    watch: Annotated[
        bool,
        Meta(
            description="Also when the file itself, its catalog file or a file that a secret comes from has changed, "
            "some two seconds later. Replace files in one step (write another, then rename it): half a file may be "
            "a good one."
        ),
    ] = False


class CatalogSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Facts and prices of models."""

    file: Annotated[
        str,
        Meta(description="File whose facts and prices override the built-in ones; relative to this file."),
    ] = ""


class Document(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole `trimtab.toml`."""

    gateway: Gateway = Gateway()
    console: Console = Console()
    data: Data = Data()
    access: Access = Access()
    deadlines: DeadlineSection = DeadlineSection()
    retry: RetrySection = RetrySection()
    resilience: ResilienceSection = ResilienceSection()
    own: Own = Own()
    providers: dict[str, ProviderSection] = {}
    models: dict[str, ModelSection] = {}
    routes: dict[str, RouteSection] = {}
    cache: Cache = Cache()
    limits: dict[str, LimitSection] = {}
    budgets: dict[str, BudgetSection] = {}
    outbound: Outbound = Outbound()
    catalog: CatalogSection = CatalogSection()
    telemetry: TelemetrySection = TelemetrySection()
    alerts: dict[str, AlertSection] = {}
    webhooks: dict[str, WebhookSection] = {}
    reload: Reload = Reload()


SECRET_KEYS = frozenset({"api_key", "headers", "proxy", "secret"})
"""Settings whose values no message may show."""
