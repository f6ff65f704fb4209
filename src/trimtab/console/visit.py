"""One request, as a page sees it: who asks, in which language, and the ways to answer."""

from collections.abc import Callable, Iterable, Mapping
from datetime import tzinfo
from functools import cached_property
from operator import attrgetter
from typing import Any, Literal, TypeVar, cast
from urllib.parse import parse_qsl, urlencode

import msgspec
from minijinja import safe
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from trimtab.api import Control
from trimtab.types import ROLES, Actor, CallerError, NotFound, Role, TooLarge, Unauthenticated, WrongMediaType

from .security import cookie_name, form_token, local_path
from .shown import date_time, moment, zone_of
from .site import Site
from .words import LANGUAGE_NAMES, Language, Translate, pick_language

Theme = Literal["auto", "light", "dark"]

THEMES: tuple[Theme, ...] = ("auto", "light", "dark")

_LARGEST_FORM = 256 * 1024
"""Bytes; a correction of a long answer fits."""

_MOST_FIELDS = 200

_Row = TypeVar("_Row")


class Visit:
    """One request. Made by the application, after the checks that stand before every page."""

    def __init__(self, request: Request, control: Control, site: Site) -> None:
        self.request = request
        self.control = control
        self.site = site
        self.signed_in: Actor | None = None
        self.bearer = ""
        """What the visitor's form token follows from."""
        self.path_params: Mapping[str, str] = {}

    def cookie(self, what: str) -> str:
        """Return the value of one of our cookies, empty where it is not set."""
        return self.request.cookies.get(cookie_name(self.request, what), "")

    @cached_property
    def language(self) -> Language:
        """The language of the answer."""
        return pick_language(self.cookie("language"), self.request.headers.get("accept-language", ""))

    @cached_property
    def t(self) -> Translate:
        """The texts of that language."""
        return self.site.words.translate(self.language)

    @property
    def theme(self) -> Theme:
        """What the visitor chose of light and dark."""
        chosen = self.cookie("theme")
        return chosen if chosen in THEMES else "auto"

    @cached_property
    def zone(self) -> tzinfo:
        """The visitor's time zone, which a script of ours found out; UTC before."""
        return zone_of(self.request.cookies.get("trimtab_zone", ""))

    @cached_property
    def query(self) -> dict[str, str]:
        """The query string's fields that are not empty; of a field that occurs twice, the last."""
        return {name: value for name, value in self.request.query_params.items() if value}

    @property
    def project(self) -> str:
        """The project that the visitor looks at; empty: all. It stands in every address, so links can be shared."""
        return self.query.get("project", "")

    @property
    def actor(self) -> Actor:
        """Who asks.

        Raises:
            Unauthenticated: nobody is signed in; routes for `anyone` alone can meet that.
        """
        if self.signed_in is None:
            raise Unauthenticated("sign in first")
        return self.signed_in

    @property
    def now_us(self) -> int:
        """The time."""
        return self.site.clock.now_us()

    @property
    def partial(self) -> bool:
        """Whether htmx asks for a part of a page."""
        return self.request.headers.get("hx-request") == "true"

    def may(self, role: Role) -> bool:
        """Return whether the visitor's role reaches `role`: what decides if a form is shown."""
        return self.signed_in is not None and ROLES.index(self.signed_in.role) >= ROLES.index(role)

    def named(
        self, rows: Iterable[_Row], noun: str, name_of: Callable[[_Row], str] = attrgetter("name")
    ) -> _Row:
        """Return the row that the address names.

        Raises:
            NotFound: there is none of that name; `noun` says of what.
        """
        name = self.path_params["name"]
        for row in rows:
            if name_of(row) == name:
                return row
        raise NotFound(f"there is no {noun} {name!r}")

    def link(self, path: str, /, **fields: object) -> str:
        """Return an address on this console: the project goes along, empty fields do not."""
        kept = {"project": self.project} | fields
        text = urlencode({name: value for name, value in kept.items() if value not in ("", None)})
        return f"{path}?{text}" if text else path

    async def form(self) -> dict[str, str]:
        """Return the fields of a form, without its token; of a field that occurs twice, the last.

        Raises:
            WrongMediaType: it is no form.
            TooLarge: it is over 256 KiB.
            CallerError: it is not UTF-8, or has too many fields.
        """
        return {name: value for name, value in (await self.form_pairs()) if name != "csrf"}

    async def form_pairs(self) -> list[tuple[str, str]]:
        """Return a form's fields in their order, its token and what occurs twice among them; raises as `form`."""
        if (known := getattr(self.request.state, "form", None)) is not None:
            return cast("list[tuple[str, str]]", known)
        kind = self.request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/x-www-form-urlencoded":
            raise WrongMediaType(f"Content-Type {kind[:80]!r} is no form's; the console takes forms only")
        body = b""
        async for piece in self.request.stream():
            body += piece
            if len(body) > _LARGEST_FORM:
                raise TooLarge(f"the form is over {_LARGEST_FORM} bytes; send less")
        try:
            pairs = parse_qsl(
                body.decode("utf-8"),
                keep_blank_values=True,
                encoding="utf-8",
                errors="strict",
                max_num_fields=_MOST_FIELDS,
            )
        except ValueError as error:  # UnicodeDecodeError is one
            raise CallerError(f"the form cannot be read: {error}") from error
        pairs = [(name, value.replace("\r\n", "\n")) for name, value in pairs]
        self.request.state.form = pairs
        return pairs

    async def page(self, template: str, status: int = 200, /, **fields: Any) -> Response:  # noqa: ANN401 - a template's
        """Return a whole page: a template that extends `base.html`; `fields` are what it names."""
        projects = [] if self.signed_in is None else await self.control.objects.projects()
        done = f"done.{self.query.get('done', '')}"
        shell = {
            "nav": self._menu(),
            "projects": [project.name for project in projects],
            "here": str(self.request.url.path),
            "back": self._here(),
            "done": self.t(done) if self.site.words.has(done) else "",
            "languages": list(LANGUAGE_NAMES.items()),
            "themes": THEMES,
        }
        return self.fragment(template, status, **(shell | fields))

    def fragment(self, template: str, status: int = 200, /, **fields: Any) -> Response:  # noqa: ANN401 - a template's
        """Return what a template gives, without the shell around it: a part of a page, for htmx."""
        return HTMLResponse(self.render(template, **fields), status_code=status)

    def render(self, template: str, /, **fields: Any) -> str:  # noqa: ANN401 - a template's
        """Return what a template gives."""
        common = {
            "t": self.t,
            "language": self.language,
            "theme": self.theme,
            "actor": self.signed_in,
            "may_edit": self.may("editor"),
            "may_admin": self.may("admin"),
            "project": self.project,
            "link": self.link,
            "static": safe(f"/static/{self.site.version}"),
            "csrf": form_token(self.bearer) if self.bearer else "",
            "when": lambda us: date_time(us, self.zone),
            "clock": lambda us: moment(us, self.zone).strftime("%H:%M:%S") if us else "",
            "day": lambda us: moment(us, self.zone).strftime("%Y-%m-%d") if us else "",
            "now_us": self.now_us,
        }
        return self.site.templates.render_template(template, **(common | fields))

    def json(self, value: object, status: int = 200) -> Response:
        """Return a value as JSON, for a script of ours."""
        return Response(msgspec.json.encode(value), status_code=status, media_type="application/json")

    def redirect(self, path: str, /, **fields: object) -> Response:
        """Return the answer to a form that did its work: a GET of another page; `done` names what was done."""
        target = local_path(self.link(path, **fields))
        if self.partial:
            return Response(status_code=204, headers={"hx-redirect": target})
        return RedirectResponse(target, status_code=303)

    def action(self, action: str) -> str:
        """Return what people call an action of the audit log; its own name where there are no words for it."""
        key = f"action.{action}"
        return self.t(key) if self.site.words.has(key) else action

    def _menu(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """Return the menu's groups with the pages that the visitor may open."""
        groups = [
            (group, [(key, path) for key, path, role in entries if role == "anyone" or self.may(role)])
            for group, entries in self.site.nav
        ]
        return [(group, entries) for group, entries in groups if entries]

    def _here(self) -> str:
        """Return this page's address, for forms that come back to it."""
        fields = {name: value for name, value in self.query.items() if name != "done"}
        path = self.request.url.path
        return f"{path}?{urlencode(fields)}" if fields else path
