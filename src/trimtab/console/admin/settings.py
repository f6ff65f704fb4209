"""Settings that can be changed while Trimtab runs: owners, values, their history as differences."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

import msgspec
from starlette.responses import Response

from trimtab.api import SettingRow
from trimtab.console.routes import Route
from trimtab.console.visit import Visit
from trimtab.types import ConfigError, SettingChange

from .form import Form, form_page, once, outcome

HISTORY = 100
"""Changes shown, newest first."""

LONGEST_DIFFERENCE = 2_000
"""Characters of a value that are compared piece by piece; longer ones are shown whole."""


@dataclass(frozen=True)
class Piece:
    """A run of characters in a difference."""

    kind: Literal["same", "gone", "new"]
    text: str


async def show(visit: Visit) -> Response:
    """Return all settings in groups, each with a form for editors."""
    return await _page(visit, Form(visit, {}))


async def change(visit: Visit) -> Response:
    """Change one setting, or with an empty value go back to its default."""
    row = await _setting(visit)
    form = await Form.read(visit)
    value = _read(form, row)
    if form.ok:
        with form.blaming():
            published = await visit.control.objects.change_setting(visit.actor, row.name, value)
            return visit.redirect("/settings", done=outcome(published, "saved"))
    # A form of one field: whatever is wrong is wrong with it.
    form.problems = {row.name: next(iter(form.problems.values()))}
    form.values = {row.name: form.values.get("value", "")}
    return await _page(visit, form)


async def reload(visit: Visit) -> Response:
    """Read the configuration file again; what cannot be used leaves the old in force."""
    form = Form(visit, {})
    try:
        published = await visit.control.machine.reload(visit.actor)
    except ConfigError as error:
        form.blame(error)
        return await _page(visit, form)
    if published.notes:
        return await _page(visit, form, published.notes)
    return visit.redirect("/settings", done=outcome(published, "reloaded"))


async def history(visit: Visit) -> Response:
    """Return who changed what, and how."""
    only = visit.query.get("name", "")
    changes = await visit.control.objects.setting_changes(HISTORY)
    shown = [(entry, difference(entry)) for entry in changes if not only or entry.name == only]
    return await visit.page("setting_history.html", title=visit.t("setting.history"), rows=shown, only=only)


def difference(change: SettingChange) -> list[Piece]:
    """Return a change as runs that stayed, went and came.

    >>> [(p.kind, p.text) for p in difference(SettingChange(
    ...     at_us=0, actor="", name="", before="30", after="300"))]
    [('same', '30'), ('new', '0')]
    """
    before, after = change.before, change.after
    if max(len(before), len(after)) > LONGEST_DIFFERENCE or not (before and after):
        return [Piece(kind, text) for kind, text in _whole(before, after)]
    pieces: list[Piece] = []
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    if matcher.ratio() < 0.5:
        return [Piece(kind, text) for kind, text in _whole(before, after)]
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag == "equal":
            pieces.append(Piece("same", before[a:b]))
            continue
        pieces += [Piece(kind, text) for kind, text in _whole(before[a:b], after[c:d])]
    return pieces


def _whole(before: str, after: str) -> list[tuple[Literal["gone", "new"], str]]:
    both: list[tuple[Literal["gone", "new"], str]] = [("gone", before), ("new", after)]
    return [(kind, text) for kind, text in both if text]


def _read(form: Form, row: SettingRow) -> str:
    """Return the value sent; the control process has the last word on what it may be."""
    value = form.text("value", longest=10_000)
    if row.kind == "choice" and value:
        form.choice("value", row.choices)
    if row.kind == "flag" and value:
        form.choice("value", ("true", "false"))
    return value


def unit_of(name: str) -> str:
    """Return the key of a setting's unit, by the end of its name; empty where it has none.

    >>> unit_of("deadlines.connect_s"), unit_of("data.retention_days"), unit_of("retry.attempts")
    ('s', 'days', '')
    """
    end = name.rpartition("_")[2]
    return end if end in ("s", "days", "gb") else ""


def _group(visit: Visit, name: str) -> str:
    key = f"setting.group_{name}"
    return visit.t(key) if visit.site.words.has(key) else name


async def _setting(visit: Visit) -> SettingRow:
    return visit.named(await visit.control.objects.settings(), "setting")


async def _page(visit: Visit, form: Form, notes: Sequence[str] = ()) -> Response:
    groups: defaultdict[str, list[SettingRow]] = defaultdict(list)
    for row in await visit.control.objects.settings():
        told = f"about.{row.name}"
        about = visit.t(told) if visit.site.words.has(told) else row.about
        groups[row.name.partition(".")[0]].append(msgspec.structs.replace(row, about=about))
    fields = {
        "title": visit.t("nav.settings"),
        "groups": [(_group(visit, name), rows) for name, rows in groups.items()],
        "units": {row.name: unit_of(row.name) for rows in groups.values() for row in rows},
        "notes": notes,
    }
    return await form_page(visit, "settings.html", form, **fields)


ROUTES = (
    Route("GET", "/settings", show),
    Route("GET", "/settings/-/history", history),
    Route("POST", "/settings/-/reload", once(reload), "editor"),
    Route("POST", "/settings/{name}", once(change), "editor"),
)
