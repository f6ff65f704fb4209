"""How faults rewrite a scripted reply, before it is encoded."""

from collections.abc import Callable

import msgspec

from trimtab.testing.reply import Scripted, split_tokens

from .plan import Scale

Change = Callable[[Scripted, Scale], Scripted]


def status(status: int, error: str | None = None, **headers: str) -> Change:
    """Return a change to an error status with this message and these headers."""

    def change(reply: Scripted, scale: Scale) -> Scripted:
        return msgspec.structs.replace(reply, status=status, error=error, headers=reply.headers | headers)

    return change


def rate_limited(reply: Scripted, scale: Scale) -> Scripted:
    """Answer 429 and name the pause."""
    pause = f"{scale.retry_after_s:g}"
    return msgspec.structs.replace(reply, status=429, headers=reply.headers | {"retry-after": pause})


def no_usage(reply: Scripted, scale: Scale) -> Scripted:
    """Leave usage out."""
    return msgspec.structs.replace(reply, report_usage=False)


def other_model(reply: Scripted, scale: Scale) -> Scripted:
    """Claim that another model answered."""
    return msgspec.structs.replace(reply, model="another-model-2024-01-01")


def duplicated(reply: Scripted, scale: Scale) -> Scripted:
    """Say the first piece of the text twice."""
    pieces = split_tokens(reply.text) if isinstance(reply.text, str) else list(reply.text)
    return msgspec.structs.replace(reply, text=(*pieces[:1], *pieces), logprobs=())
