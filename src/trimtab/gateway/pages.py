"""The endpoints that only look: models, health and metrics."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from trimtab._version import __version__
from trimtab.access import authorize
from trimtab.ledger import OPENMETRICS, PLAIN, Family, metrics_text
from trimtab.pipeline import Core, TargetFigure, read_targets, target_figures

from .replies import Send, send_bytes, send_json

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]


class Pages:
    """Serves what is known here without asking a provider, and the list of models."""

    def __init__(self, core: Core, folders: tuple[str, str], *, bound_to_loopback: bool) -> None:
        """Take the core, and where counters and other processes' figures stand."""
        self._core = core
        self._folders = folders
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
        """`GET /metrics`: figures of all processes together, as Prometheus or as OpenMetrics asks for them."""
        accepted = b",".join(value for name, value in scope["headers"] if name == b"accept")
        form = OPENMETRICS if b"application/openmetrics-text" in accepted else PLAIN
        own = (
            Family("trimtab_build_info", "gauge", "The version.", [("", {"version": __version__}, 1)]),
            Family("trimtab_generation", "gauge", "The snapshot obeyed.", [("", {}, self._core.generation)]),
        )
        published = self._folders[1]
        targets = read_targets(Path(published)) if published else self._core.seen()
        families = (*own, *map(_family, target_figures(targets)))
        body = metrics_text(*self._folders, form, families).encode()
        await send_bytes(send, 200, body, [(b"content-type", form.content_type.encode())])


def _family(figure: TargetFigure) -> Family:
    suffix = "_total" if figure.kind == "counter" else ""
    samples = [(suffix, {"target": target}, value) for target, value in figure.samples]
    return Family(figure.name, figure.kind, figure.about, samples)
