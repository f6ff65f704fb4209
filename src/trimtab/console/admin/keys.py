"""Keys that applications hold: list, make, revoke."""

from typing import cast, get_args

from starlette.responses import Response

from trimtab.console.examples import example_call, example_model
from trimtab.console.routes import Route
from trimtab.console.visit import Visit
from trimtab.types import PayloadPolicy

from .form import Form, form_page, once, outcome, page_fields

POLICIES: tuple[str, ...] = get_args(PayloadPolicy)


async def show(visit: Visit) -> Response:
    """Return the list, newest first."""
    keys = await visit.control.objects.keys()
    if visit.project:
        keys = [key for key in keys if key.project == visit.project]
    keys.sort(key=lambda key: key.created_us, reverse=True)
    return await visit.page("keys.html", title=visit.t("nav.keys"), keys=keys, **page_fields())


async def ask(visit: Visit) -> Response:
    """Return the form for a new key."""
    return await _form(visit, Form(visit, {}, {"project": visit.project or "default", "payload": ""}))


async def make(visit: Visit) -> Response:
    """Make a key, and show its text: here, and nowhere else ever."""
    form = await Form.read(visit)
    name = form.text("name", needed=True, longest=64)
    project = form.text("project", needed=True, longest=64)
    payload = form.choice("payload", ("", *POLICIES))
    cache_ttl_s = form.number("cache_ttl_s", most=31_536_000, empty=-1, least=-1)
    if form.ok:
        with form.blaming():
            text, key, published = await visit.control.objects.add_key(
                visit.actor,
                name,
                project,
                cast("PayloadPolicy", payload) if payload else None,
                None if cache_ttl_s < 0 else float(cache_ttl_s),
            )
            machine = visit.control.machine
            gateway = visit.site.gateway_url or str((await machine.health()).get("gateway") or "")
            model, greeting = example_model(await machine.snapshot()), visit.t("key.hello")
            return await visit.page(
                "key_made.html",
                title=visit.t("key.made"),
                text=text,
                key=key,
                late=not published.obeyed,
                example=example_call(gateway, text, model, greeting),
            )
    return await _form(visit, form)


async def revoke(visit: Visit) -> Response:
    """Revoke a key."""
    published = await visit.control.objects.revoke_key(visit.actor, visit.path_params["id"])
    return visit.redirect("/keys", done=outcome(published, "key_revoked"))


async def _form(visit: Visit, form: Form) -> Response:
    projects = [project.name for project in await visit.control.objects.projects()]
    if (asked := form.values.get("project")) and asked not in projects:
        form.problem("project", "no_project", name=asked)
    fields = {"title": visit.t("key.new"), "names": projects, "policies": ("", *POLICIES)}
    return await form_page(visit, "key_new.html", form, **fields)


ROUTES = (
    Route("GET", "/keys", show),
    Route("GET", "/keys/-/new", ask, "editor"),
    Route("POST", "/keys/-/new", once(make), "editor"),
    Route("POST", "/keys/{id}/revoke", once(revoke), "editor"),
)
