"""Console and admin API behind one port, told apart by the path."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def by_path(*, api: App, console: App) -> App:
    """Return an application that gives `/api/...` and `/healthz` to the API, and all else to the console."""

    async def face(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        chosen = api if path in {"/healthz", "/api"} or path.startswith("/api/") else console
        await chosen(scope, receive, send)

    return face
