"""What a form sent, what is wrong with it, and the way it goes: sent once, problems shown at their field."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self, TypeVar

from starlette.responses import Response

from trimtab.access import SHORTEST_PASSWORD
from trimtab.api import Published
from trimtab.console.routes import Endpoint
from trimtab.console.security import form_token, new_visit
from trimtab.console.visit import Visit
from trimtab.types import CallerError, TrimtabError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")

ENTIRE = ""
"""Where a problem stands that belongs to no field."""

_Choice = TypeVar("_Choice", bound=str)


class Form:
    """The fields of a form as they were sent; each check takes a field, and notes what is wrong with it."""

    def __init__(self, visit: Visit, values: dict[str, str], present: dict[str, str] | None = None) -> None:
        """Take a form's fields.

        Args:
            visit: whose words the problems are told in.
            values: what was sent.
            present: what the thing holds now, shown in a form that was not sent yet.
        """
        self._t = visit.t
        self.values = (present or {}) | values
        self._fields = frozenset(values)
        self.problems: dict[str, str] = {}

    @classmethod
    async def read(cls, visit: Visit) -> Self:
        """Return what was sent."""
        return cls(visit, await visit.form())

    @property
    def ok(self) -> bool:
        """Whether no check found anything."""
        return not self.problems

    def problem(self, field: str, key: str, **places: object) -> None:
        """Note a problem; the first of a field stays."""
        self.problems.setdefault(field, self._t(f"form.{key}", **places))

    def tell(self, field: str, key: str) -> None:
        """Note a problem in words of the page's own; the first of a field stays."""
        self.problems.setdefault(field, self._t(key))

    def text(self, field: str, *, longest: int = 200, needed: bool = False) -> str:
        """Return a field without space around it."""
        value = self.values.get(field, "").strip()
        if needed and not value:
            self.problem(field, "needed")
        if len(value) > longest:
            self.problem(field, "too_long", longest=longest)
        return value

    def name(self, field: str) -> str:
        """Return a field that names something: letters, digits, `.`, `-`, `_`, `@`."""
        value = self.text(field, needed=True, longest=64)
        if value and NAME.fullmatch(value) is None:
            self.problem(field, "name_shape")
        return value

    def number(self, field: str, *, most: int, least: int = 0, empty: int | None = None) -> int:
        """Return a whole number; an empty field is `empty`, or `least`."""
        value = self.values.get(field, "").strip() or str(least if empty is None else empty)
        if re.fullmatch(r"-?[0-9]{1,12}", value) is None or not least <= int(value) <= most:
            self.problem(field, "number", least=least, most=most)
            return least
        return int(value)

    def choice(self, field: str, choices: Sequence[_Choice]) -> _Choice:
        """Return one of some values; the first of them beside a problem where another was sent."""
        value = self.values.get(field, "")
        for choice in choices:
            if choice == value:
                return choice
        self.problem(field, "choice")
        return choices[0]

    def typed(self, field: str, expected: str) -> None:
        """Ask that a name was typed by hand, before something is gone for good."""
        if self.values.get(field, "").strip() != expected:
            self.problem(field, "typed", expected=expected)

    def secret(self, field: str, *, shortest: int, needed: bool = True) -> str:
        """Take a secret out of the form, so that no page can show it again."""
        value = self.values.pop(field, "")
        if (needed or value) and len(value) < shortest:
            self.problem(field, "too_short" if value else "needed", shortest=shortest)
        return value

    @contextmanager
    def blaming(self) -> Iterator[None]:
        """Note what is refused inside at the field it names, and go on after the block."""
        try:
            yield
        except CallerError as error:
            self.blame(error)

    def blame(self, error: TrimtabError) -> None:
        """Note an error at the field it names, else at the form."""
        field = error.param if error.param in self._fields else ENTIRE
        self.problems.setdefault(field, error.message)


def new_password(form: Form) -> str:
    """Take a new password, typed twice, out of a form."""
    password = form.secret("password", shortest=SHORTEST_PASSWORD)
    again = form.secret("password_again", shortest=0)
    if "password" not in form.problems and password != again:
        form.problem("password_again", "not_the_same")
    return password


async def form_page(visit: Visit, template: str, form: Form, **fields: Any) -> Response:  # noqa: ANN401 - a template's
    """Return a page with a form: 200 where it is fresh, 422 with what is wrong."""
    return await visit.page(template, 200 if form.ok else 422, form=form, **page_fields(), **fields)


def page_fields() -> dict[str, str]:
    """Return what a page with forms needs beside its own fields: a token that is good for one sending."""
    return {"once": new_visit()}


def outcome(published: Published, done: str) -> str:
    """Return the words' key for what became of a change."""
    return done if published.obeyed else "late"


def once(endpoint: Endpoint) -> Endpoint:
    """Make a form's endpoint do its work once, however often the same form is sent."""

    async def answer(visit: Visit) -> Response:
        fields = await visit.form()
        if not fields.get("once"):
            return await endpoint(visit)
        path = visit.request.url.path
        form = "\n".join((form_token(visit.bearer), path, *(f"{n}={v}" for n, v in sorted(fields.items()))))
        top = "/" + path.split("/")[1]
        return await visit.site.once.answer(
            form, lambda: endpoint(visit), lambda: visit.redirect(top, done="already")
        )

    return answer
