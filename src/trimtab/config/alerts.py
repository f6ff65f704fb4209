"""What may stand under `[alerts.NAME]` and `[webhooks.NAME]`."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from trimtab.types import AlertKind, AlertRule, Webhook, WebhookFormat

_DEFAULTED: Final = frozenset({"threshold", "clear", "window_s"})
"""Fields of a rule in which 0 stands for the kind's default."""


class AlertSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule on how this installation is doing. What is left out has its kind's default."""

    kind: Annotated[AlertKind, Meta(description="What it looks at; docs/how-to/alerts.md says what each is.")]
    threshold: Annotated[
        float,
        Meta(
            ge=0,
            description="Where it fires: a share (0.05), milliseconds, seconds or a count, by its kind. 0: its kind's "
            "default.",
        ),
    ] = 0.0
    clear: Annotated[
        float,
        Meta(ge=0, description="Where it ends; nearer to what is usual than the threshold. 0: its kind's."),
    ] = 0.0
    window_s: Annotated[
        int, Meta(ge=0, le=86_400, description="How far it looks back, in seconds. 0: its kind's.")
    ] = 0
    hold_s: Annotated[
        int,
        Meta(
            ge=0, le=86_400, description="For how long it must be past either edge before anything is said."
        ),
    ] = 0
    min_calls: Annotated[
        int, Meta(ge=0, description="Calls in the window below which no share and no quantile is judged.")
    ] = 20
    project: Annotated[str, Meta(description="Whose calls; empty: everybody's.")] = ""
    webhooks: Annotated[tuple[str, ...], Meta(description="Names of the webhooks to tell.")] = ()
    enabled: Annotated[bool, Meta(description="Whether it is looked at.")] = True


class WebhookSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to send what alerts say. Those declared here may lead anywhere."""

    url: Annotated[
        str, Meta(min_length=1, description="Where to POST to. Write `${NAME}` where it is a secret.")
    ]
    secret: Annotated[
        str,
        Meta(description="What signs: `whsec_` and base64, or any text. Write `${NAME}`. Empty: unsigned."),
    ] = ""
    format: Annotated[
        WebhookFormat, Meta(description="`standard`: signed, by Standard Webhooks; `slack`: a text.")
    ] = "standard"


def resolve_alerts(
    alerts: Mapping[str, AlertSection], webhooks: Mapping[str, WebhookSection]
) -> tuple[tuple[AlertRule, ...], tuple[Webhook, ...]]:
    """Return rules and webhooks as the file declares them."""
    rules = tuple(_rule(name, section) for name, section in alerts.items())
    hooks = tuple(
        Webhook(name=name, url=s.url, secret=s.secret, format=s.format, owner="file")
        for name, s in webhooks.items()
    )
    return rules, hooks


def _rule(name: str, section: AlertSection) -> AlertRule:
    fields = msgspec.structs.asdict(section)
    fields |= {field: fields[field] or None for field in _DEFAULTED}
    return msgspec.convert({"name": name, **fields}, AlertRule)


def webhook_problems(webhooks: Mapping[str, WebhookSection]) -> Iterator[str]:
    """Yield what is wrong with the webhooks, beyond types."""
    for name, hook in webhooks.items():
        if not hook.url.startswith(("http://", "https://")):
            yield f"webhooks.{name}.url: no URL; it starts with https:// or http://"
