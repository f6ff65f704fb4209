"""The open-access rule: who may call without a key.

Open access is meant for programs on this machine, run by its user. A browser on this machine runs programs of
strangers, and a proxy on it speaks for strangers, so a request is let in only while all of this holds:

- the server listens on a loopback address only;
- there is one `Host`, and it is `localhost`, `127.0.0.1` or `[::1]`, with any port or none (a page of a name
  that was re-bound to 127.0.0.1 still sends its own name: DNS rebinding);
- no header says that the request was forwarded;
- `Origin`, if there is one, is a loopback origin too, and `Sec-Fetch-Site` does not say `cross-site`;
- a body is declared as JSON (a foreign page may send forms and plain text without asking, JSON it may not:
  Fetch standard, CORS-safelisted request headers).
"""

import re

from trimtab.types import CallerError, Forbidden, Unauthenticated, WrongMediaType

Headers = list[tuple[bytes, bytes]]
"""As in ASGI: names in lower case."""

_AUTHORITY = rb"(?i:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?"
_LOOPBACK_HOST = re.compile(_AUTHORITY)
_LOOPBACK_ORIGIN = re.compile(rb"(?i:https?)://" + _AUTHORITY)
_JSON = re.compile(rb"(?i:application/(?:[a-z0-9!#$&^_.-]+\+)?json)[ \t]*(?:;.*)?", re.DOTALL)

_FORWARDED = frozenset(
    {
        b"forwarded",
        b"via",
        b"x-real-ip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"x-original-host",
        b"x-original-url",
        b"x-originating-ip",
        b"true-client-ip",
        b"cf-connecting-ip",
        b"fastly-client-ip",
        b"fly-client-ip",
        b"x-envoy-external-address",
        b"x-azure-clientip",
    }
)
"""Beside everything that begins with `x-forwarded`."""

_SAME_MACHINE = frozenset({b"same-origin", b"same-site", b"none"})
"""Values of `Sec-Fetch-Site` (W3C Fetch Metadata) that no foreign page can cause."""

_OF_BROWSERS = frozenset({b"origin", b"sec-fetch-site"})

_WATCHED = frozenset(
    {b"host", b"origin", b"sec-fetch-site", b"content-type", b"content-length", b"transfer-encoding"}
)


def open_access_problem(
    headers: Headers, *, bound_to_loopback: bool, by_name: dict[bytes, bytes] | None = None
) -> CallerError | None:
    """Return why this request may not come in without a key, or None where it may.

    Pure: about 1 µs. The error's status fits the reason: 401 where a key would do, 403 where a foreign page or
    name is behind it, 415 where the body is not declared as JSON.

    Args:
        headers: the request's, in order.
        bound_to_loopback: whether the server listens on loopback addresses only.
        by_name: `dict(headers)`, where the caller has made it already.
    """
    if not bound_to_loopback:
        return Unauthenticated(
            f"a key is needed: this gateway listens beyond the loopback interface; {_SEND_KEY}",
            param="authorization",
        )
    seen = dict(headers) if by_name is None else by_name
    # Most requests name each header once, and none that a proxy adds: so much is seen without a loop of ours.
    if len(seen) < len(headers) or not _FORWARDED.isdisjoint(seen) or b"x-forwarded" in b"\n".join(seen):
        problem = _name_problem(headers)
        if problem is not None:
            return problem
    problem = _host_problem(seen)
    if problem is None and not _OF_BROWSERS.isdisjoint(seen):
        problem = _origin_problem(seen)
    return problem or _body_problem(seen)


def _name_problem(headers: Headers) -> CallerError | None:
    """Look at every header's name: none may come of a proxy, and none that we go by may say two things."""
    seen: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _FORWARDED or name.startswith(b"x-forwarded"):
            return Unauthenticated(
                f"a key is needed: the header {_show(name)} says that a proxy stands between; {_SEND_KEY}",
                param="authorization",
            )
        if name in _WATCHED:
            if name in seen and (name == b"host" or seen[name] != value):
                return Forbidden(f"the header {_show(name)} occurs twice; send it once, or send a key")
            seen[name] = value
    return None


def _host_problem(seen: dict[bytes, bytes]) -> CallerError | None:
    host = seen.get(b"host", b"")
    if _LOOPBACK_HOST.fullmatch(host):
        return None
    return Forbidden(
        "open access answers to localhost, 127.0.0.1 and [::1] only, and the Host header says "
        f"{_show(host)}; call one of those, or {_SEND_KEY}"
    )


def _origin_problem(seen: dict[bytes, bytes]) -> CallerError | None:
    origin = seen.get(b"origin")
    if origin is not None and not _LOOPBACK_ORIGIN.fullmatch(origin):
        return Forbidden(
            f"a web page of another origin ({_show(origin)}) may not call without a key; {_SEND_KEY}"
        )
    site = seen.get(b"sec-fetch-site")
    if site is not None and site not in _SAME_MACHINE:
        return Forbidden(f"a web page of another site may not call without a key; {_SEND_KEY}")
    return None


def _body_problem(seen: dict[bytes, bytes]) -> CallerError | None:
    if b"transfer-encoding" not in seen and seen.get(b"content-length", b"0") == b"0":
        return None
    kind = seen.get(b"content-type", b"")
    if kind == b"application/json" or _JSON.fullmatch(kind):
        return None
    return WrongMediaType(
        f"the body's Content-Type is {_show(kind)}; without a key it must be application/json",
        param="content-type",
    )


_SEND_KEY = "send `Authorization: Bearer tt-...` (make one with `trimtab keys create`)"


def _show(value: bytes) -> str:
    return repr(value[:80].decode("latin-1"))
