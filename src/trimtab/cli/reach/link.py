"""How commands reach what is running: plain HTTP to the admin API and the gateway of this machine.

The standard library's client is enough here; it is loaded when something runs that it can reach.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from trimtab.cli.options import Place
from trimtab.cli.terminal import CommandFailed

if TYPE_CHECKING:
    from http.client import HTTPResponse
    from pathlib import Path

    from trimtab.serve import Running

ADMIN_TIMEOUT_S = 30.0
"""The admin API answers in milliseconds; a key's creation waits until every worker has it."""

LARGEST_ERROR_BYTES = 64 * 1024
"""More of an error body is not worth reading."""


def running(place: Place) -> Running:
    """Return how to reach the Trimtab that the options name.

    Raises:
        CommandFailed: none is running there; the mend says how to start it.
    """
    from trimtab.cli.config import load

    return running_on(load(place).data_dir, f" --data {place.data}" if place.data else "")


def running_on(folder: Path, option: str = "") -> Running:
    """Return how to reach the Trimtab that runs on a data folder; `option` is what `trimtab up` would need.

    Raises:
        CommandFailed: none is running there; the mend says how to start it.
    """
    from trimtab.serve import find_running

    found = find_running(folder)
    if found is None:
        raise CommandFailed(
            f"no Trimtab is running on {folder}",
            mend=f"start it in another terminal: trimtab up{option}",
        )
    return found


def admin(
    target: Running,
    method: str,
    path: str,
    *,
    query: dict[str, Any] | None = None,
    body: object = None,
    timeout_s: float | None = ADMIN_TIMEOUT_S,
) -> Any:  # noqa: ANN401 - JSON
    """Ask the admin API and return its JSON.

    Args:
        target: what is running.
        method: the HTTP method.
        path: below `/api/v1/`; parts must be quoted (`quoted`).
        query: fields of the query string; empty ones are left out.
        body: JSON to send.
        timeout_s: longest silence; None waits for ever.

    Raises:
        CommandFailed: it said no, or could not be reached.
    """
    from urllib.parse import urlencode

    fields = {name: value for name, value in (query or {}).items() if value not in ("", 0, None)}
    url = f"{target.url}/api/v1/{path}" + (f"?{urlencode(fields)}" if fields else "")
    with request(method, url, token=target.token, body=body, timeout_s=timeout_s) as reply:
        text = reply.read()
        return json.loads(text) if text else None


def quoted(part: str) -> str:
    """Return a name or an id as one part of a path.

    Raises:
        CommandFailed: nothing can be called that; the path would lead elsewhere.
    """
    from urllib.parse import quote

    if not part or "/" in part:
        raise CommandFailed(
            f"{part!r} cannot be a name or an id: those have at least one character, and no '/'", exit_code=2
        )
    return quote(part, safe="")


@contextmanager
def request(
    method: str, url: str, *, token: str = "", body: object = None, timeout_s: float | None = None
) -> Iterator[HTTPResponse]:
    """Send a request and yield the open answer; statuses of 400 and above raise.

    Args:
        method: the HTTP method.
        url: whole URL, http only.
        token: bearer token.
        body: JSON to send.
        timeout_s: longest silence; None waits for ever.

    Raises:
        CommandFailed: the server said no (exit 1 for 404, 2 for other 4xx, else 3), or could not be reached.
    """
    import http.client
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    headers = {"Accept": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None
    if body is not None:
        data = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"
    link = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout_s)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    try:
        link.request(method, path, body=data, headers=headers)
        reply = link.getresponse()
        if reply.status >= 400:
            raise _refused(reply)
        yield reply
    except (OSError, http.client.HTTPException) as error:
        raise CommandFailed(
            f"{parts.scheme}://{parts.netloc} does not answer: {str(error) or type(error).__name__}",
            mend="is `trimtab up` still running? its terminal, or `trimtab doctor`, says more",
        ) from error
    finally:
        link.close()


def _refused(reply: HTTPResponse) -> CommandFailed:
    raw = reply.read(LARGEST_ERROR_BYTES)
    message, code = "", ""
    try:
        error = json.loads(raw)["error"]
        message, code = str(error.get("message", "")), str(error.get("code") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        message = f"HTTP {reply.status} {reply.reason}"
    known = {404: 1}
    exit_code = known.get(
        reply.status, 2 if reply.status < 500 and reply.status not in (408, 429, 499) else 3
    )
    asked_gateway = reply.status == 401 and not message.startswith("nobody is signed in")
    mend = "set TRIMTAB_API_KEY to a key from `trimtab keys create`" if asked_gateway else ""
    if not code:
        return CommandFailed(message, mend=mend, exit_code=exit_code)
    return CommandFailed(f"{message} ({code})", mend=mend, exit_code=exit_code, code=code)
