"""Sessions: what an application's users said over several calls, as chat."""

from dataclasses import dataclass

from starlette.responses import Response

from trimtab.console.content.conversation import Turn, answer_turns, new_turns, request_turns
from trimtab.console.lists import Row
from trimtab.console.routes import Route
from trimtab.console.visit import Visit
from trimtab.storage import CallQuery
from trimtab.types import NotFound, id_time_us

from .call import ShownTurn, shown_turns

_PAGE = 50
_MOST_CALLS = 60
"""Calls of one session on one page."""


@dataclass(frozen=True)
class _Exchange:
    """What one call added to a session."""

    row: Row
    turns: list[ShownTurn]
    hidden: bool
    """Whether the words were not kept."""


async def show_all(visit: Visit) -> Response:
    """Return the list of sessions, that of the newest call first."""
    before = _id_or_nothing(visit.query.get("before", ""))
    rows = await visit.control.records.sessions(project=visit.project, before=before, limit=_PAGE)
    return await visit.page(
        "sessions.html",
        title=visit.t("nav.sessions"),
        rows=rows,
        older=visit.link("/sessions", before=rows[-1].last_call) if len(rows) == _PAGE else "",
        newest=visit.link("/sessions") if before else "",
    )


async def show_one(visit: Visit) -> Response:
    """Return one session: each call with what it added to the conversation."""
    name = visit.query.get("session", "")
    before = _id_or_nothing(visit.query.get("before", ""))
    query = CallQuery(session=name, project=visit.project, before=before, limit=_MOST_CALLS)
    calls = await visit.control.records.find(query, payload=True) if name else []
    if not calls:
        raise NotFound(f"there is no session {name[:80]!r}" + (" in this project" if visit.project else ""))
    said: list[Turn] = []
    fresh: list[list[Turn]] = []
    for call in reversed(calls):
        asked, answered = request_turns(call), answer_turns(call)
        fresh.append([*new_turns(asked, said), *answered])
        said = [*asked, *answered]
    shown = iter(shown_turns([turn for turns in fresh for turn in turns]))
    exchanges = [
        _Exchange(Row(call, "", ""), [next(shown) for _ in turns], not call.opened.request)
        for call, turns in zip(reversed(calls), fresh, strict=True)
    ]
    first, last = exchanges[0].row.call.opened, exchanges[-1].row.call.opened
    return await visit.page(
        "session.html",
        title=visit.t("sessions.one"),
        session=name,
        exchanges=exchanges,
        user=last.user,
        in_project=last.project,
        first_us=first.opened_us,
        last_us=last.opened_us,
        cost=sum(exchange.row.cost_nusd or 0 for exchange in exchanges),
        errors=sum(exchange.row.call.state == "error" for exchange in exchanges),
        older=visit.link("/sessions/one", session=name, before=calls[-1].id)
        if len(calls) == _MOST_CALLS
        else "",
        newest=visit.link("/sessions/one", session=name) if before else "",
    )


def _id_or_nothing(text: str) -> str:
    try:
        id_time_us(text)
    except ValueError:
        return ""
    return text


ROUTES = (Route("GET", "/sessions", show_all), Route("GET", "/sessions/one", show_one))
