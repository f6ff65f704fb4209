"""The pages that limits and budgets share: list, add, change, remove. What the file declares is read-only."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import msgspec
from starlette.responses import Response

from trimtab.api import Published
from trimtab.console.admin.form import Form, form_page, once, outcome, page_fields
from trimtab.console.routes import Route
from trimtab.console.visit import Visit
from trimtab.types import BudgetSpec, CallerError, LimitSpec

_MATCHED = ("key", "project", "route", "model")

_Spec = TypeVar("_Spec", bound=LimitSpec | BudgetSpec)
_Rule_co = TypeVar("_Rule_co", bound=LimitSpec | BudgetSpec, covariant=True)


class _Row(Protocol[_Rule_co]):
    """A rule, and how it stands now."""

    @property
    def spec(self) -> _Rule_co: ...

    @property
    def owner(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class RulePages(Generic[_Spec]):
    """What tells the pages of one noun from another's."""

    noun: str
    """`limit`: names its addresses, templates and words."""
    rows: Callable[[Visit], Awaitable[Iterable[_Row[_Spec]]]]
    put: Callable[[Visit, _Spec], Awaitable[Published]]
    drop: Callable[[Visit, str], Awaitable[Published]]
    read: Callable[[Form, str], _Spec]
    """Makes the rule of a name from a form, and notes there what is wrong."""
    present: Callable[[_Spec], dict[str, str]]
    """What a form shows of a rule."""
    fresh: Mapping[str, str]
    """What the form for a new one shows."""
    fields: Mapping[str, object] = field(default_factory=dict)
    """What the template names beside."""

    @property
    def path(self) -> str:
        """The list's address."""
        return f"/{self.noun}s"

    async def show(self, visit: Visit) -> Response:
        """Return the list: the file's first, then by name."""
        rows = sorted(await self.rows(visit), key=lambda row: (row.owner, row.spec.name))
        title = visit.t(f"nav.{self.noun}s")
        return await visit.page(f"{self.noun}s.html", title=title, rows=rows, **page_fields())

    async def ask(self, visit: Visit) -> Response:
        """Return the form for a new rule."""
        return await self._page(visit, None, Form(visit, {}, dict(self.fresh)))

    async def add(self, visit: Visit) -> Response:
        """Add a rule."""
        form = await Form.read(visit)
        name = form.name("name")
        if name in [row.spec.name for row in await self.rows(visit)]:
            form.problem("name", "taken", name=name)
        return await self._put(visit, None, form, name)

    async def open_one(self, visit: Visit) -> Response:
        """Return one rule; with forms where the store owns it and the visitor is an admin."""
        row = await self._row(visit)
        return await self._page(visit, row, Form(visit, {}, self.present(row.spec)))

    async def change(self, visit: Visit) -> Response:
        """Change a rule of the store's; what a budget has spent goes on counting where it matches the same calls."""
        row = await self._row(visit)
        return await self._put(visit, row, await Form.read(visit), row.spec.name)

    async def remove(self, visit: Visit) -> Response:
        """Remove a rule of the store's, once its name was typed."""
        row = await self._row(visit)
        form = await Form.read(visit)
        form.typed("typed_name", row.spec.name)
        if form.ok:
            with form.blaming():
                return self._done(visit, await self.drop(visit, row.spec.name))
        return await self._page(visit, row, form)

    def routes(self) -> tuple[Route, ...]:
        """Return the noun's rows of the table of routes."""
        return (
            Route("GET", self.path, self.show),
            Route("GET", f"{self.path}/-/new", self.ask, "admin"),
            Route("POST", f"{self.path}/-/new", once(self.add), "admin"),
            Route("GET", f"{self.path}/{{name}}", self.open_one),
            Route("POST", f"{self.path}/{{name}}", once(self.change), "admin"),
            Route("POST", f"{self.path}/{{name}}/remove", once(self.remove), "admin"),
        )

    async def _put(self, visit: Visit, row: _Row[_Spec] | None, form: Form, name: str) -> Response:
        spec = self.read(form, name)
        if form.ok:
            with form.blaming():
                return self._done(visit, await self.put(visit, spec))
        return await self._page(visit, row, form)

    def _done(self, visit: Visit, published: Published) -> Response:
        return visit.redirect(self.path, done=outcome(published, "saved"))

    async def _row(self, visit: Visit) -> _Row[_Spec]:
        return visit.named(await self.rows(visit), self.noun, lambda row: row.spec.name)

    async def _page(self, visit: Visit, row: _Row[_Spec] | None, form: Form) -> Response:
        if row is not None and row.owner == "file" and not form.ok:
            raise CallerError(f"the configuration file declares {row.spec.name!r}; change it there")
        title = visit.t(f"{self.noun}.new") if row is None else row.spec.name
        return await form_page(visit, f"{self.noun}.html", form, title=title, it=row, **self.fields)


def shown(spec: msgspec.Struct) -> dict[str, str]:
    """Return a rule's plain fields as a form shows them."""
    fields: dict[str, Any] = msgspec.structs.asdict(spec)
    return {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in fields.items()}


def matched(form: Form) -> dict[str, str]:
    """Return what a rule's form says of the calls that it holds for."""
    return {name: form.text(name) for name in _MATCHED}


def seconds(form: Form, name: str, most: int) -> float:
    """Return a field that holds seconds, fractions too."""
    try:
        value = float(form.text(name) or 0)
    except ValueError:
        value = -1.0
    if not 0 <= value <= most:
        form.problem(name, "number", least=0, most=most)
        return 0.0
    return value
