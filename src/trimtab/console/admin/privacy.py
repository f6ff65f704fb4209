"""Privacy: erase a person's calls, take calls out, back up."""

import asyncio
from dataclasses import dataclass

from starlette.responses import Response, StreamingResponse

from trimtab.console.routes import Route
from trimtab.console.visit import Visit
from trimtab.storage import CallQuery, Erasure
from trimtab.types import Call, StorageError, id_time_us

from .export import MEDIA_TYPE, file_name, lines, query_of
from .form import Form, form_page, once, page_fields

COUNTED = 1_000
"""Calls that a preview counts at most: counting costs reading."""


@dataclass(frozen=True)
class Preview:
    """What an erasure would remove."""

    calls: int
    more: bool
    """Whether there are more than were counted."""
    newest: Call
    oldest: Call

    @property
    def newest_us(self) -> int:
        """When the newest opened."""
        return id_time_us(self.newest.id)

    @property
    def oldest_us(self) -> int:
        """When the oldest that was counted opened."""
        return id_time_us(self.oldest.id)


async def show(visit: Visit) -> Response:
    """Return the page; with a user or session in the query, what erasing it would remove."""
    form = Form(visit, {name: visit.query.get(name, "") for name in ("user", "session")})
    if visit.partial:
        preview, asked = await _preview(visit, form)
        return visit.fragment(
            "privacy_preview.html", form=form, preview=preview, asked=asked, **page_fields()
        )
    return await _page(visit, form)


async def erase(visit: Visit) -> Response:
    """Erase a user's or a session's calls, once it was typed."""
    form = await Form.read(visit)
    user, session = form.text("user"), form.text("session")
    if not (user or session):
        form.problem("user", "user_or_session")
    form.typed("typed_name", user or session)
    if form.ok:
        with form.blaming():
            what = Erasure(project=form.text("project"), user=user, session=session)
            erased = await visit.control.records.erase(visit.actor, what)
            return await visit.page(
                "erased.html", title=visit.t("privacy.erased"), erased=erased, who=user or session
            )
    return await _page(visit, form)


async def export(visit: Visit) -> Response:
    """Send calls as a file, a page at a time however many they are."""
    form = Form(visit, dict(visit.query))
    query = query_of(form, visit.zone)
    if not form.ok:
        return await _page(visit, form)
    return StreamingResponse(
        lines(visit.control.records.export(query)),
        media_type=MEDIA_TYPE,
        headers={"content-disposition": f'attachment; filename="{file_name(visit.now_us)}"'},
    )


async def back_up(visit: Visit) -> Response:
    """Write a backup into a folder on the machine that Trimtab runs on."""
    form = await Form.read(visit)
    target = form.text("target", longest=1000, needed=True)
    if target and not target.startswith("/"):
        form.problem("target", "whole_path")
    if form.ok:
        with form.blaming():
            try:
                made = await visit.control.machine.back_up(visit.actor, target)
            except StorageError as error:  # a disk that is full, a folder that is not ours
                form.problems["target"] = error.message
            else:
                return await visit.page("backed_up.html", title=visit.t("privacy.backed_up"), made=made)
    return await _page(visit, form)


async def _preview(visit: Visit, form: Form) -> tuple[Preview | None, bool]:
    """Return what the form's user or session has, and whether one was named."""
    user, session = form.text("user"), form.text("session")
    if not (user or session):
        return None, False
    query = CallQuery(user=user, session=session, project=visit.project, limit=COUNTED + 1)
    found = await visit.control.records.find(query, payload=False)
    if not found:
        return None, True
    counted = found[:COUNTED]
    return Preview(len(counted), len(found) > COUNTED, counted[0], counted[-1]), True


async def _page(visit: Visit, form: Form) -> Response:
    (preview, asked), health = await asyncio.gather(_preview(visit, form), visit.control.machine.health())
    fields = {
        "title": visit.t("nav.privacy"),
        "preview": preview,
        "asked": asked,
        "counted": COUNTED,
        "data_dir": health.get("data_dir", ""),
    }
    return await form_page(visit, "privacy.html", form, **fields)


ROUTES = (
    Route("GET", "/privacy", show),
    Route("POST", "/privacy/-/erase", once(erase), "admin"),
    Route("GET", "/privacy/-/export", export),
    Route("POST", "/privacy/-/backup", once(back_up), "admin"),
)
