"""Projects: list, make, change, remove."""

import asyncio

from starlette.responses import Response

from trimtab.console.routes import Route
from trimtab.console.visit import Visit
from trimtab.types import Project

from .form import Form, form_page, once, outcome
from .keys import POLICIES

LONGEST_KEPT_DAYS = 36_500


async def show(visit: Visit) -> Response:
    """Return the list."""
    objects = visit.control.objects
    projects, keys = await asyncio.gather(objects.projects(), objects.keys())
    held = {project.name: sum(key.project == project.name for key in keys) for project in projects}
    return await visit.page("projects.html", title=visit.t("nav.projects"), rows=projects, held=held)


async def ask(visit: Visit) -> Response:
    """Return the form for a new project."""
    return await _new(visit, Form(visit, {}, {"payload": "full", "retention_days": "0"}))


async def make(visit: Visit) -> Response:
    """Make a project."""
    form = await Form.read(visit)
    name = form.name("name")
    project = _read(form, Project(name=name, created_us=visit.now_us))
    if name in [known.name for known in await visit.control.objects.projects()]:
        form.problem("name", "taken", name=name)
    if form.ok:
        with form.blaming():
            published = await visit.control.objects.put_project(visit.actor, project)
            return visit.redirect("/projects", done=outcome(published, "project_made"))
    return await _new(visit, form)


async def open_one(visit: Visit) -> Response:
    """Return one project with the forms that change and remove it."""
    return await _page(visit, await _project(visit))


async def change(visit: Visit) -> Response:
    """Change a project."""
    known = await _project(visit)
    form = await Form.read(visit)
    project = _read(form, known)
    if form.ok:
        with form.blaming():
            published = await visit.control.objects.put_project(visit.actor, project)
            return visit.redirect(f"/projects/{known.name}", done=outcome(published, "saved"))
    return await _page(visit, known, form)


async def remove(visit: Visit) -> Response:
    """Remove a project with its keys and calls, once its name was typed."""
    known = await _project(visit)
    form = await Form.read(visit)
    form.typed("typed_name", known.name)
    if form.ok:
        with form.blaming():
            published = await visit.control.objects.remove_project(visit.actor, known.name)
            return visit.redirect("/projects", project="", done=outcome(published, "project_removed"))
    return await _page(visit, known, form)


def _read(form: Form, project: Project) -> Project:
    return Project(
        name=project.name,
        title=form.text("title", longest=100),
        payload=form.choice("payload", POLICIES),
        retention_days=form.number("retention_days", most=LONGEST_KEPT_DAYS),
        created_us=project.created_us,
    )


async def _project(visit: Visit) -> Project:
    return visit.named(await visit.control.objects.projects(), "project")


async def _new(visit: Visit, form: Form) -> Response:
    return await form_page(visit, "project_new.html", form, title=visit.t("project.new"), policies=POLICIES)


async def _page(visit: Visit, project: Project, sent: Form | None = None) -> Response:
    present = {
        "title": project.title,
        "payload": project.payload,
        "retention_days": str(project.retention_days),
    }
    form = Form(visit, {} if sent is None else sent.values, present)
    form.problems = {} if sent is None else sent.problems
    keys = [key for key in await visit.control.objects.keys() if key.project == project.name]
    fields = {"title": project.title or project.name, "it": project, "keys": keys, "policies": POLICIES}
    return await form_page(visit, "project.html", form, **fields)


ROUTES = (
    Route("GET", "/projects", show),
    Route("GET", "/projects/-/new", ask, "editor"),
    Route("POST", "/projects/-/new", once(make), "editor"),
    Route("GET", "/projects/{name}", open_one),
    Route("POST", "/projects/{name}", once(change), "editor"),
    Route("POST", "/projects/{name}/remove", once(remove), "admin"),
)
