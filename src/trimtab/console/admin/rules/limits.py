"""Limits: list with how they stand, add, change, remove. What the configuration file declares is read-only."""

from typing import Any, get_args

import msgspec
from starlette.responses import Response

from trimtab.api import LimitRow
from trimtab.console.admin.form import Form, form_page, once, outcome, page_fields
from trimtab.console.routes import Route
from trimtab.console.visit import Visit
from trimtab.types import CallerError, LimitPer, LimitSpec, NotFound

PER: tuple[LimitPer, ...] = get_args(LimitPer)
_MOST_S = 3600
_MATCHED = ("key", "project", "route", "model")


async def show(visit: Visit) -> Response:
    """Return the list: the file's first, then by name."""
    rows = sorted(await visit.control.objects.limits(), key=lambda row: (row.owner, row.spec.name))
    return await visit.page("limits.html", title=visit.t("nav.limits"), rows=rows, **page_fields())


async def ask(visit: Visit) -> Response:
    """Return the form for a new limit."""
    return await _page(visit, None, Form(visit, {}, {"per": "rule", "burst_s": "0.5"}))


async def add(visit: Visit) -> Response:
    """Add a limit."""
    form = await Form.read(visit)
    name = form.name("name")
    if name in [row.spec.name for row in await visit.control.objects.limits()]:
        form.problem("name", "taken", name=name)
    spec = _read(form, name)
    if form.ok:
        with form.blaming():
            published = await visit.control.objects.put_limit(visit.actor, spec)
            return visit.redirect("/limits", done=outcome(published, "saved"))
    return await _page(visit, None, form)


async def open_one(visit: Visit) -> Response:
    """Return one limit; with forms where the store owns it and the visitor is an admin."""
    row = await _limit(visit)
    return await _page(visit, row, Form(visit, {}, shown(row.spec)))


async def change(visit: Visit) -> Response:
    """Change a limit of the store's."""
    row = await _limit(visit)
    form = await Form.read(visit)
    spec = _read(form, row.spec.name)
    if form.ok:
        with form.blaming():
            published = await visit.control.objects.put_limit(visit.actor, spec)
            return visit.redirect("/limits", done=outcome(published, "saved"))
    return await _page(visit, row, form)


async def remove(visit: Visit) -> Response:
    """Remove a limit of the store's, once its name was typed."""
    row = await _limit(visit)
    form = await Form.read(visit)
    form.typed("typed_name", row.spec.name)
    if form.ok:
        with form.blaming():
            published = await visit.control.objects.remove_limit(visit.actor, row.spec.name)
            return visit.redirect("/limits", done=outcome(published, "saved"))
    return await _page(visit, row, form)


def shown(spec: msgspec.Struct) -> dict[str, str]:
    """Return a rule's plain fields as a form shows them."""
    fields: dict[str, Any] = msgspec.structs.asdict(spec)
    return {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in fields.items()}


def matched(form: Form) -> dict[str, str]:
    """Return what a rule's form says of the calls that it holds for."""
    return {name: form.text(name) for name in _MATCHED}


def seconds(form: Form, field: str, most: int) -> float:
    """Return a field that holds seconds, fractions too."""
    try:
        value = float(form.text(field) or 0)
    except ValueError:
        value = -1.0
    if not 0 <= value <= most:
        form.problem(field, "number", least=0, most=most)
        return 0.0
    return value


def _read(form: Form, name: str) -> LimitSpec:
    spec = LimitSpec(
        name=name,
        per=form.choice("per", PER),
        requests_per_minute=form.number("requests_per_minute", most=10**9),
        tokens_per_minute=form.number("tokens_per_minute", most=10**12 - 1),
        concurrency=form.number("concurrency", most=10**6),
        burst_s=seconds(form, "burst_s", _MOST_S),
        **matched(form),
    )
    if not (spec.requests_per_minute or spec.tokens_per_minute or spec.concurrency):
        form.tell("requests_per_minute", "limit.needs")
    return spec


async def _limit(visit: Visit) -> LimitRow:
    name = visit.path_params["name"]
    for row in await visit.control.objects.limits():
        if row.spec.name == name:
            return row
    raise NotFound(f"there is no limit {name!r}")


async def _page(visit: Visit, row: LimitRow | None, form: Form) -> Response:
    if row is not None and row.owner == "file" and not form.ok:
        raise CallerError(f"the configuration file declares {row.spec.name!r}; change it there")
    title = visit.t("limit.new") if row is None else row.spec.name
    return await form_page(visit, "limit.html", form, title=title, it=row, pers=PER)


ROUTES = (
    Route("GET", "/limits", show),
    Route("GET", "/limits/-/new", ask, "admin"),
    Route("POST", "/limits/-/new", once(add), "admin"),
    Route("GET", "/limits/{name}", open_one),
    Route("POST", "/limits/{name}", once(change), "admin"),
    Route("POST", "/limits/{name}/remove", once(remove), "admin"),
)
