"""The headers that tell of limits, as OpenAI names them (platform.openai.com/docs/guides/rate-limits)."""

from .ports import Grant

Headers = tuple[tuple[bytes, bytes], ...]
_NAMES = {
    kind: tuple(f"x-ratelimit-{part}-{kind}".encode() for part in ("limit", "remaining", "reset"))
    for kind in ("requests", "tokens")
}


def duration(seconds: float) -> str:
    """Return a time for people and headers, as OpenAI writes it.

    >>> duration(0.012), duration(1.5), duration(360), duration(90_061)
    ('12ms', '1.5s', '6m0s', '25h1m1s')
    """
    if not seconds:
        return "0ms"
    if seconds < 0.9995:
        return f"{round(seconds * 1000)}ms"
    if seconds < 59.95:
        return f"{seconds:.3g}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s"


def rate_headers(kind: str, limit: int, remaining: int, reset_s: float) -> Headers:
    """Return the three headers of `requests` or `tokens`."""
    names = _NAMES[kind]
    return (
        (names[0], b"%d" % limit),
        (names[1], b"%d" % remaining),
        (names[2], b"%dms" % round(reset_s * 1000) if reset_s < 0.9995 else duration(reset_s).encode()),
    )


def grant_headers(grant: Grant) -> Headers:
    """Return what a reply says of the limits that its call came in under; nothing where there are none."""
    requests, tokens = grant.states()
    if requests is None:
        return () if tokens is None else rate_headers("tokens", *tokens)
    found = rate_headers("requests", *requests)
    return found if tokens is None else found + rate_headers("tokens", *tokens)
