"""The HTTP face of the pipeline: one ASGI callable and a small table of routes, no framework."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

from trimtab.pipeline import Core
from trimtab.types import TrimtabError
from trimtab.types.errors import ClientGone, MethodNotAllowed, NotFound

from .calls import Calls
from .pages import Pages
from .replies import send_error
from .told import Told

_log = logging.getLogger(__name__)
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Handler = Callable[[Scope, Receive, Send], Awaitable[None]]


class Gateway:
    """Serves the OpenAI-compatible API, and counts `requests`, `in_flight` and those `rejected` before a call."""

    def __init__(
        self, core: Core, *, bound_to_loopback: bool, counters_folder: str = "", published: str = ""
    ) -> None:
        """Make the callable.

        Args:
            core: makes the calls.
            bound_to_loopback: whether the server listens on loopback addresses only.
            counters_folder: the folder of all workers' counters, for `/metrics`.
            published: the folder of what other processes add there.
        """
        calls = Calls(core, bound_to_loopback=bound_to_loopback)
        pages = Pages(core, (counters_folder, published), bound_to_loopback=bound_to_loopback)
        told = Told(core, bound_to_loopback=bound_to_loopback)
        self._core = core
        self._routes: dict[str, dict[str, Handler]] = {
            "/v1/chat/completions": {"POST": partial(calls.serve, "chat")},
            "/v1/embeddings": {"POST": partial(calls.serve, "embeddings")},
            "/v1/feedback": {"POST": told.feedback},
            "/v1/spans": {"POST": told.spans},
            "/v1/models": {"GET": pages.models},
            "/healthz": {"GET": pages.healthz, "HEAD": pages.healthz},
            "/readyz": {"GET": pages.readyz, "HEAD": pages.readyz},
            "/metrics": {"GET": pages.metrics},
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI 3)."""
        count = self._core.counts.add_named
        count("requests")
        count("in_flight")
        try:
            await self._handler(scope)(scope, receive, send)
        except ClientGone:
            return  # nobody is there to be told; the call is recorded
        except TrimtabError as error:
            count("rejected")
            await _tell(send, error)
        except Exception:  # noqa: BLE001 - faults of ours reach callers as errors too
            _log.exception("an internal error ended a request to %r", scope["path"][:200])
            await _tell(
                send, TrimtabError("an internal error ended the request; the gateway's log says more")
            )
        finally:
            count("in_flight", -1)

    def _handler(self, scope: Scope) -> Handler:
        path = scope["path"]
        methods = self._routes.get(path) or self._routes.get(path.rstrip("/"))
        if methods is None:
            known = ", ".join(self._routes)
            raise NotFound(f"there is nothing at {path[:200]!r}; there are: {known}")
        handler = methods.get(scope["method"])
        if handler is None:
            raise MethodNotAllowed(f"{path} takes {' or '.join(methods)}, not {scope['method']}")
        return handler

    async def aclose(self) -> None:
        """Close the providers' connections."""
        await self._core.aclose()


async def _tell(send: Send, error: TrimtabError) -> None:
    with suppress(ClientGone):
        await send_error(send, error)
