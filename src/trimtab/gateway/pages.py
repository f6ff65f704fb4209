"""The endpoints that only look: models, health and metrics."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from trimtab.access import authorize
from trimtab.ledger import metrics_text
from trimtab.pipeline import Core, read_targets, targets_metrics

from .replies import Send, send_bytes, send_json

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]


class Pages:
    """Serves what is known here without asking a provider, and the list of models."""

    def __init__(
        self, core: Core, counters_folder: str, health_folder: str, *, bound_to_loopback: bool
    ) -> None:
        self._core = core
        self._folder = counters_folder
        self._health = health_folder
        self._loopback = bound_to_loopback

    async def models(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`GET /v1/models`."""
        core = self._core
        authorize(scope["headers"], core.state.policy, core.state.ring, bound_to_loopback=self._loopback)
        rows = await core.models()
        data = [{"id": name, "object": "model", "created": 0, "owned_by": owner} for name, owner in rows]
        await send_json(send, 200, {"object": "list", "data": data})

    async def healthz(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`GET /healthz`: this worker is alive."""
        await send_json(send, 200, {"status": "ok"})

    async def readyz(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`GET /readyz`: this worker obeys a snapshot and can record."""
        ready = self._core.generation > 0
        body = {"status": "ok" if ready else "starting", "generation": self._core.generation}
        await send_json(send, 200 if ready else 503, body)

    async def metrics(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`GET /metrics`: counters and targets of all workers together, in Prometheus' text format."""
        targets = read_targets(Path(self._health)) if self._health else self._core.seen()
        body = (metrics_text(self._folder) + targets_metrics(targets)).encode()
        await send_bytes(send, 200, body, [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")])
