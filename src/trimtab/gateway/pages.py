"""The endpoints that make no call: models, feedback, health and metrics."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from trimtab.access import authorize
from trimtab.ledger import metrics_text
from trimtab.pipeline import Core, feedback_record
from trimtab.types import id_time_us
from trimtab.types.errors import CallerError

from .replies import Send, send_bytes, send_json
from .requests import read_body

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
_LONGEST_TEXT = 100_000
_EARLIEST_US = 1_577_836_800_000_000
"""2020-01-01: no call is older."""
_AHEAD_US = 86_400_000_000
"""Clocks of several machines differ, but not by more than a day."""


class Feedback(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /v1/feedback`."""

    call_id: str
    name: str = "rating"
    score: float | None = None
    value: str = ""
    comment: str = ""
    correction: str = ""
    user: str = ""


class Pages:
    """Serves what is known here without asking a provider, and the list of models."""

    def __init__(self, core: Core, counters_folder: str, *, bound_to_loopback: bool) -> None:
        self._core = core
        self._folder = counters_folder
        self._loopback = bound_to_loopback

    async def models(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`GET /v1/models`."""
        core = self._core
        authorize(scope["headers"], core.state.policy, core.state.ring, bound_to_loopback=self._loopback)
        rows = await core.models()
        data = [{"id": name, "object": "model", "created": 0, "owned_by": owner} for name, owner in rows]
        await send_json(send, 200, {"object": "list", "data": data})

    async def feedback(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /v1/feedback`: an event in the ledger, kept beside its call."""
        core = self._core
        policy = core.state.policy
        caller = authorize(scope["headers"], policy, core.state.ring, bound_to_loopback=self._loopback)
        body = await read_body(
            dict(scope["headers"]), receive, min(policy.max_request_bytes, _LONGEST_TEXT * 4)
        )
        try:
            given = msgspec.json.decode(body, type=Feedback)
            _check_time(given.call_id, core.clock.now_us())
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
            raise CallerError(
                f"{error}; send call_id (from the reply's x-trimtab-call-id) and any of name, score, value, "
                "comment, correction, user",
                param="call_id",
            ) from error
        record = feedback_record(caller, core.clock.now_us(), msgspec.to_builtins(given))
        await core.feedback(record)
        await send_json(send, 200, {"id": record.id, "object": "feedback", "call_id": given.call_id})

    async def healthz(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`GET /healthz`: this worker is alive."""
        await send_json(send, 200, {"status": "ok"})

    async def readyz(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`GET /readyz`: this worker obeys a snapshot and can record."""
        ready = self._core.generation > 0
        body = {"status": "ok" if ready else "starting", "generation": self._core.generation}
        await send_json(send, 200 if ready else 503, body)

    async def metrics(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`GET /metrics`: the counters of all workers together, in Prometheus' text format."""
        body = metrics_text(self._folder).encode()
        await send_bytes(send, 200, body, [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")])


def _check_time(call_id: str, now_us: int) -> None:
    """Raise ValueError for what cannot be the id of a call: no UUIDv7, or of a time without calls."""
    if not _EARLIEST_US <= id_time_us(call_id) <= now_us + _AHEAD_US:
        raise ValueError(f"call_id {call_id!r} is no call's: its time is before 2020 or in the future")
