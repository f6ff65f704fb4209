"""The installation itself: is everything running, the file read again, a backup."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from trimtab.api.answers import ConfigReading, Published
from trimtab.api.replies import actor_of, control_of, read_json, read_query, reply
from trimtab.api.table import Route
from trimtab.types import TargetHealth


class Alive(msgspec.Struct, frozen=True):
    """The control process answers."""

    status: str = "ok"


class TargetList(msgspec.Struct, frozen=True, kw_only=True):
    """Targets that calls have met since the workers started."""

    targets: list[TargetHealth]


class BackupFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a backup goes."""

    target: Annotated[
        str,
        Meta(min_length=1, max_length=1000, description="Absolute path of a folder that is not there yet."),
    ]


async def get_healthz(_request: Request) -> Response:
    """Say that the control process answers."""
    return reply(Alive())


async def get_health(request: Request) -> Response:
    """Return processes, generations by worker, the ledger's backlog, disk and counters."""
    return reply(await control_of(request).machine.health())


async def list_targets(request: Request) -> Response:
    """Return what the workers have seen of each target: breaker, failures, latency, last error."""
    return reply(TargetList(targets=await control_of(request).machine.targets()))


class ReadingFields(msgspec.Struct, frozen=True, kw_only=True):
    """How much of the history."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class ReadingList(msgspec.Struct, frozen=True, kw_only=True):
    """Readings of the configuration, newest first."""

    readings: list[ConfigReading]


async def get_readings(request: Request) -> Response:
    """Return readings of the configuration."""
    fields = read_query(request, ReadingFields)
    return reply(ReadingList(readings=await control_of(request).machine.readings(fields.limit)))


async def post_reload(request: Request) -> Response:
    """Read the file again, check and publish it; an unusable one is refused (`config_invalid`)."""
    return reply(await control_of(request).machine.reload(actor_of(request)))


async def post_backup(request: Request) -> Response:
    """Write a consistent backup while everything runs."""
    fields = await read_json(request, BackupFields)
    return reply(await control_of(request).machine.back_up(actor_of(request), fields.target), 201)


ROUTES = (
    Route(
        method="GET", path="/healthz", endpoint=get_healthz, action="health.read", role=None,
        summary="says that the control process answers", reply=Alive,
    ),
    Route(
        method="GET", path="/api/v1/health", endpoint=get_health, action="health.read", role="viewer",
        summary="processes, the generation each worker obeys, what the append log holds, disk, counters",
        reply=dict[str, Any],
    ),
    Route(
        method="GET", path="/api/v1/targets", endpoint=list_targets, action="health.read", role="viewer",
        summary="what the workers have seen of each target: breaker, failures, latency, calls in flight, last error",
        reply=TargetList,
    ),
    Route(
        method="POST", path="/api/v1/reload", endpoint=post_reload, action="config.reload", role="editor",
        summary="reads the configuration file again; an unusable one is refused with `config_invalid`, and what was "
        "in force stays", reply=Published,
    ),
    Route(
        method="GET", path="/api/v1/config/readings", endpoint=get_readings, action="config.list", role="viewer",
        summary="when the configuration was read, who asked and what changed, without secrets; refused ones too",
        query=ReadingFields, reply=ReadingList,
    ),
    Route(
        method="POST", path="/api/v1/backup", endpoint=post_backup, action="backup.make", role="admin",
        summary="writes a consistent backup into a new folder while everything runs", body=BackupFields,
        reply=dict[str, Any], status=201,
    ),
)  # fmt: skip
"""Every route of this noun."""
