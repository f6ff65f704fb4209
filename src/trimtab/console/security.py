"""What keeps strangers out: headers, the Host rule, cookies, form tokens, targets of redirects."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from trimtab.access import open_access_problem
from trimtab.types import Forbidden

CSP = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)

HEADERS: Mapping[str, str] = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
"""Sent with every answer."""

_PRINTABLE = re.compile(r"[!-\[\]-~]*")
"""ASCII without space, control characters and the backslash: browsers drop the first and turn the last."""

COOKIE_DAYS = 400
"""Life of preferences; what browsers allow at most."""


def check_host(request: Request, *, bound_to_loopback: bool) -> None:
    """Refuse what comes under a strange name, through a proxy, or from another site's page.

    On loopback the admin API's rule holds: a loopback Host and no proxy between (DNS rebinding). A page may be
    opened from a link anywhere, since that changes nothing; whatever changes something comes from our own pages.

    Raises:
        Forbidden: it is not let near a page.
    """
    headers = request.scope["headers"]
    if bound_to_loopback:
        opens = request.method in ("GET", "HEAD")
        watched = [
            (name, value)
            for name, value in headers
            if not name.startswith(b"content-") and not (opens and name == b"sec-fetch-site")
        ]
        watched = [(name, value) for name, value in watched if name != b"transfer-encoding"]
        problem = open_access_problem(watched, bound_to_loopback=True)
        if problem is not None:
            raise Forbidden(problem.message)
    if request.method not in ("GET", "HEAD"):
        _check_origin(request)


def _check_origin(request: Request) -> None:
    """Refuse a change that may come from a foreign page."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower():
        raise Forbidden(f"a page of another origin ({origin[:80]!r}) may change nothing here")
    site = request.headers.get("sec-fetch-site")
    if site not in (None, "same-origin", "none"):
        raise Forbidden(f"a page of another site may change nothing here (Sec-Fetch-Site: {site[:20]!r})")


def local_path(path: str) -> str:
    r"""Return `path` if it stays on this server whatever a browser makes of it, else `/`.

    >>> local_path("/calls?state=error"), local_path("//evil.example"), local_path("/\t/evil.example")
    ('/calls?state=error', '/', '/')
    """
    stays = path.startswith("/") and not path.startswith("//") and _PRINTABLE.fullmatch(path) is not None
    return path if stays else "/"


def cookie_name(request: Request, what: str) -> str:
    """Return a cookie's name; the port is in it, since browsers share a host's cookies among its ports."""
    server = request.scope.get("server") or ("", 0)
    return f"trimtab_{what}_{server[1] or 0}"


def set_cookie(response: Response, request: Request, what: str, value: str, *, keep: bool) -> None:
    """Set a cookie that scripts cannot read and no foreign page can send; `keep` lets it outlive the browser."""
    response.set_cookie(
        cookie_name(request, what),
        value,
        max_age=COOKIE_DAYS * 86_400 if keep else None,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


def drop_cookie(response: Response, request: Request, what: str) -> None:
    """Let the browser forget a cookie."""
    response.delete_cookie(cookie_name(request, what), httponly=True, samesite="strict")


def new_visit() -> str:
    """Return what stands for a visitor who is not signed in: 192 random bits."""
    return secrets.token_urlsafe(24)


def form_token(bearer: str) -> str:
    """Return the token that a visitor's forms must carry: it follows from the cookie, and does not give it away.

    Args:
        bearer: the sign-in's token, or what stands for the visitor before.
    """
    return hmac.new(bearer.encode(), b"trimtab console form", hashlib.sha256).hexdigest()


def form_token_fits(bearer: str, shown: str) -> bool:
    """Return whether a form's token is the visitor's."""
    return bool(bearer) and hmac.compare_digest(form_token(bearer).encode(), shown.encode())
