"""Providers: list, test, add, change, rotate the key, remove. What the configuration file declares is read-only."""

from starlette.responses import Response

from trimtab.api import ProviderRow
from trimtab.console.routes import Route
from trimtab.console.visit import Visit
from trimtab.plugins import entries
from trimtab.types import CallerError, ProviderSpec

from .form import Form, form_page, once, outcome, page_fields
from .provider_form import DEADLINES, fields_of, read_spec

USUAL_KIND = "openai"
"""The dialect that most servers speak; chosen in a new form."""


async def show(visit: Visit) -> Response:
    """Return the list: the file's first, then by name."""
    rows = sorted(await visit.control.objects.providers(), key=lambda row: (row.owner, row.name))
    return await visit.page("providers.html", title=visit.t("nav.providers"), rows=rows, **page_fields())


async def ask(visit: Visit) -> Response:
    """Return the form for a new provider."""
    return await _new(visit, Form(visit, {}, {"kind": USUAL_KIND}))


async def add(visit: Visit) -> Response:
    """Add a provider with its key."""
    form = await Form.read(visit)
    name = form.name("name")
    key = form.secret("api_key", shortest=1, needed=False)
    if name in [row.name for row in await visit.control.objects.providers()]:
        form.problem("name", "taken", name=name)
    spec = read_spec(form, ProviderSpec(name=name), _kinds())
    if form.ok:
        with form.blaming():
            published = await visit.control.objects.put_provider(visit.actor, spec, api_key=key or None)
            return visit.redirect(f"/providers/{name}", done=outcome(published, "provider_added"))
    return await _new(visit, form)


async def open_one(visit: Visit) -> Response:
    """Return one provider; with forms where the store owns it and the visitor is an admin."""
    return await _page(visit, await _provider(visit))


async def change(visit: Visit) -> Response:
    """Change a provider of the store's; its key stays unless another is given."""
    row = await _provider(visit)
    form = await Form.read(visit)
    key = form.secret("api_key", shortest=1, needed=False)
    asked = read_spec(form, await _now(visit, row), _kinds())
    if form.ok:
        with form.blaming():
            published = await visit.control.objects.put_provider(visit.actor, asked, api_key=key or None)
            return visit.redirect(f"/providers/{row.name}", done=outcome(published, "saved"))
    return await _page(visit, row, form)


async def rotate(visit: Visit) -> Response:
    """Give a provider another key."""
    row = await _provider(visit)
    form = await Form.read(visit)
    key = form.secret("api_key", shortest=1)
    if form.ok:
        with form.blaming():
            published = await visit.control.objects.rotate_key(visit.actor, row.name, key)
            return visit.redirect(f"/providers/{row.name}", done=outcome(published, "key_rotated"))
    return await _page(visit, row, form)


async def remove(visit: Visit) -> Response:
    """Remove a provider of the store's, once its name was typed."""
    row = await _provider(visit)
    form = await Form.read(visit)
    form.typed("typed_name", row.name)
    if form.ok:
        with form.blaming():
            published = await visit.control.objects.remove_provider(visit.actor, row.name)
            return visit.redirect("/providers", done=outcome(published, "provider_removed"))
    return await _page(visit, row, form)


async def test(visit: Visit) -> Response:
    """Ask a provider for its models, and say what came of it: in place, or on the provider's page."""
    row = await _provider(visit)
    result = await visit.control.objects.test_provider(visit.actor, row.name)
    if visit.partial:
        return visit.fragment("provider_test.html", result=result, it=row)
    return await _page(visit, row, result=result)


async def _now(visit: Visit, row: ProviderRow) -> ProviderSpec:
    """Return a provider as it is published; as its row says where a worker could not make it."""
    snapshot = await visit.control.machine.snapshot()
    said = ProviderSpec(name=row.name, kind=row.kind, base_url=row.base_url, models=row.models)
    return next((spec for spec in snapshot.providers if spec.name == row.name), said)


def _kinds() -> list[str]:
    return sorted(entries("trimtab.providers"))


async def _provider(visit: Visit) -> ProviderRow:
    return visit.named(await visit.control.objects.providers(), "provider")


async def _new(visit: Visit, form: Form) -> Response:
    fields = {"kinds": _kinds(), "deadlines": DEADLINES}
    return await form_page(visit, "provider_new.html", form, title=visit.t("provider.new"), **fields)


async def _page(visit: Visit, row: ProviderRow, sent: Form | None = None, **fields: object) -> Response:
    if sent is not None and row.owner == "file":
        raise CallerError(f"the configuration file declares {row.name!r}; change it there")
    now = await _now(visit, row) if row.owner == "store" else None
    form = Form(visit, {} if sent is None else sent.values, fields_of(now) if now else {})
    form.problems = {} if sent is None else sent.problems
    kinds = _kinds() if row.kind in _kinds() else [row.kind, *_kinds()]
    moved = await visit.control.objects.after_removal(row.name) if now and visit.may("editor") else []
    fields = {"result": None, "kinds": kinds, "it": row, "moved": moved, "deadlines": DEADLINES} | fields
    return await form_page(visit, "provider.html", form, title=row.name, **fields)


ROUTES = (
    Route("GET", "/providers", show),
    Route("GET", "/providers/-/new", ask, "editor"),
    Route("POST", "/providers/-/new", once(add), "editor"),
    Route("GET", "/providers/{name}", open_one),
    Route("POST", "/providers/{name}", once(change), "editor"),
    Route("POST", "/providers/{name}/key", once(rotate), "admin"),
    Route("POST", "/providers/{name}/remove", once(remove), "editor"),
    Route("POST", "/providers/{name}/test", test, "editor"),
)
