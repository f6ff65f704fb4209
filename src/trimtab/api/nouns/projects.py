"""Projects: the tenants."""

from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from trimtab.api.answers import Published
from trimtab.api.replies import actor_of, control_of, read_json, reply
from trimtab.api.table import Route
from trimtab.types import PayloadPolicy, Project


class ProjectFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What can be said of a project; what is left out goes back to its default."""

    payload: PayloadPolicy = "full"
    title: Annotated[str, Meta(max_length=128)] = ""
    retention_days: Annotated[int, Meta(ge=0, le=36_500)] = 0


class ProjectList(msgspec.Struct, frozen=True, kw_only=True):
    """All projects."""

    projects: list[Project]


class ChangedProject(msgspec.Struct, frozen=True, kw_only=True):
    """A project that was made, changed or removed."""

    name: str
    published: Published


async def list_projects(request: Request) -> Response:
    """Return all projects."""
    return reply(ProjectList(projects=await control_of(request).objects.projects()))


async def put_project(request: Request) -> Response:
    """Create or change a project."""
    name = request.path_params["name"]
    fields = await read_json(request, ProjectFields)
    project = Project(name=name, **msgspec.structs.asdict(fields))
    published = await control_of(request).objects.put_project(actor_of(request), project)
    return reply(ChangedProject(name=name, published=published))


async def remove_project(request: Request) -> Response:
    """Remove a project with its keys and calls."""
    name = request.path_params["name"]
    published = await control_of(request).objects.remove_project(actor_of(request), name)
    return reply(ChangedProject(name=name, published=published))


ROUTES = (
    Route(
        method="GET", path="/api/v1/projects", endpoint=list_projects, action="project.list", role="viewer",
        summary="the projects", reply=ProjectList,
    ),
    Route(
        method="PUT", path="/api/v1/projects/{name}", endpoint=put_project, action="project.change",
        role="editor", summary="creates or changes a project", body=ProjectFields, reply=ChangedProject,
    ),
    Route(
        method="DELETE", path="/api/v1/projects/{name}", endpoint=remove_project, action="project.remove",
        role="admin", summary="removes a project with its keys, and erases its calls", reply=ChangedProject,
    ),
)  # fmt: skip
"""Every route of this noun."""
