"""One call: the conversation, the attempts, where it came from, what it cost, what people said of it."""

import math
from dataclasses import dataclass

from msgspec.structs import replace as with_fields
from starlette.responses import Response

from trimtab.api import call_row
from trimtab.console.content.conversation import MOST_TURNS, Turn, answer_turns, decode, pretty, request_turns
from trimtab.console.content.markdown import MOST_CHARACTERS, plain, render
from trimtab.console.content.reuse import reuse
from trimtab.console.content.trace import around
from trimtab.console.costs import cost_parts
from trimtab.console.lists import Row, filters, query_of
from trimtab.console.routes import Route
from trimtab.console.visit import Visit
from trimtab.console.waterfall import waterfall
from trimtab.storage import CallQuery
from trimtab.types import Call, CallerError, NotFound, SpanEnded, id_time_us, parse_trace_parent

_RENDERED = 3 * MOST_CHARACTERS
"""Characters of Markdown that one page renders; what comes after is shown as it is."""

_RAW = 200_000
"""Characters of raw JSON that a page shows; the download has all."""

_AHEAD_S = (1, 30, 900, 21_600, 86_400, 30 * 86_400)
"""Windows after a call in which its newer neighbour is looked for, in seconds."""

_NEAR = 100
_SPANS = 500
"""Of a call's trace, among which those around it are looked for."""
_GATEWAY = "http://127.0.0.1:8400"
"""Where applications call unless the machine says otherwise."""

_HIDDEN = ("hash", "none")
_SHA256_BYTES = 32


@dataclass(frozen=True)
class ShownPart:
    """A part of a turn as the page has it."""

    kind: str
    name: str
    html: str
    text: str
    cut: int


@dataclass(frozen=True)
class ShownTurn:
    """A turn as the page has it."""

    role: str
    name: str
    answer: bool
    parts: tuple[ShownPart, ...]


@dataclass(frozen=True)
class InTrace:
    """The trace that a call was made in."""

    address: str
    spans: int
    calls: int
    around: tuple[SpanEnded, ...]
    """The spans that the call was made in, the outermost first."""


async def show(visit: Visit) -> Response:
    """Return the page of a call."""
    call = await _call(visit)
    turns = request_turns(call)
    older, newer = await _neighbours(visit, call)
    carried = filters(visit)
    return await visit.page(
        "call.html",
        title=visit.t("call.title"),
        call=call,
        row=Row(call, "", ""),
        thanks=False,
        turns=shown_turns([*turns[-MOST_TURNS:], *answer_turns(call)]),
        left_out=max(0, len(turns) - MOST_TURNS),
        hidden=_hidden(call),
        raw=[(name, *_raw(raw)) for name, raw in _payloads(call)],
        waterfall=waterfall(call),
        lineage=lineage(visit, call, await _key_name(visit, call)),
        in_trace=await _in_trace(visit, call),
        parameters=_parameters(call),
        costs=cost_parts(call, visit.site.catalog(await visit.control.machine.snapshot())),
        older=visit.link(f"/calls/{older}", **carried) if older else "",
        newer=visit.link(f"/calls/{newer}", **carried) if newer else "",
        up=visit.link("/calls", **carried),
        json_link=f"/calls/{call.id}.json",
        code=reuse(call, await _gateway(visit)),
        alike=lambda **fields: visit.link("/calls", **({"project": call.opened.project} | fields)),
    )


async def download(visit: Visit) -> Response:
    """Return the whole call as JSON, as the admin API has it."""
    call = await _call(visit)
    response = visit.json(call_row(call, payload=True))
    response.headers["content-disposition"] = f'attachment; filename="{call.id}.json"'
    return response


async def give_feedback(visit: Visit) -> Response:
    """Record feedback; for htmx, answer with what is now known, since the store has it a moment later."""
    fields = await visit.form()
    call_id = visit.path_params["id"]
    given = await visit.control.records.give_feedback(visit.actor, call_id, _feedback_fields(fields))
    if not visit.partial:
        return visit.redirect(f"/calls/{call_id}", done="feedback")
    call = await _call(visit)
    if all(known.id != given.id for known in call.feedback):
        call = with_fields(call, feedback=(*call.feedback, given))
    return visit.fragment("feedback.html", call=call, thanks=True)


def shown_turns(turns: list[Turn]) -> list[ShownTurn]:
    """Return turns with their Markdown rendered, the newest first in line for it where there is much."""
    room = _RENDERED
    shown: list[ShownTurn] = []
    for turn in reversed(turns):
        parts = []
        for part in turn.parts:
            markdown = part.kind in ("text", "reasoning", "refusal") and len(part.text) <= room
            if markdown:
                room -= len(part.text)
                html = render(part.text)
            else:
                html = plain(part.text)
            parts.append(ShownPart(part.kind, part.name, html, part.text, part.cut))
        shown.append(ShownTurn(turn.role, turn.name, turn.answer, tuple(parts)))
    return shown[::-1]


def lineage(visit: Visit, call: Call, key_name: str = "") -> list[tuple[str, str, str]]:
    """Return where a call came from: (key of the words, value, address or empty), what is empty left out.

    Args:
        visit: whose project the addresses keep to.
        call: the call.
        key_name: what people call its key; empty: its id is shown.
    """
    opened, closed = call.opened, call.closed
    prompt = f"{opened.prompt_name} v{opened.prompt_version}" if opened.prompt_name else ""
    release = (closed.release if closed else "") or opened.release
    model = (closed.model if closed else "") or opened.model

    def calls(**fields: str) -> str:
        return visit.link("/calls", **({"project": opened.project} | fields))

    rows = [
        ("project", opened.project, calls()),
        ("route", f"{opened.route} / {opened.channel}" if opened.route else "", calls(route=opened.route)),
        ("release", release, calls(release=release)),
        ("arm", opened.arm, ""),
        ("prompt", f"{prompt} {opened.prompt_label}".strip(), ""),
        ("asked", opened.model_asked, ""),
        ("model", model, calls(model=model)),
        ("provider", closed.provider if closed else "", calls(provider=closed.provider) if closed else ""),
        ("served", closed.model_served if closed else "", ""),
        ("epoch", (closed.epoch if closed else "") or opened.epoch, ""),
        ("fingerprint", closed.fingerprint if closed else "", ""),
        ("key", key_name or opened.key, calls(key=opened.key)),
        ("user", opened.user, calls(user=opened.user)),
        (
            "session",
            opened.session,
            visit.link("/sessions/one", session=opened.session, project=opened.project),
        ),
        *(("tag", tag, calls(tag=tag)) for tag in opened.tags),
        ("purpose", opened.purpose if opened.purpose != "live" else "", calls(purpose=opened.purpose)),
        ("client", opened.client, ""),
        ("parent", opened.parent_call, f"/calls/{opened.parent_call}"),
        ("replay", opened.replay_of, f"/calls/{opened.replay_of}"),
        ("trace", opened.trace_parent, _trace_address(visit, call)),
        ("response_id", closed.provider_response_id if closed else "", ""),
        ("request_id", closed.provider_request_id if closed else "", ""),
        ("id", opened.id, ""),
    ]
    return [(key, value, address) for key, value, address in rows if value]


async def _key_name(visit: Visit, call: Call) -> str:
    keys = await visit.control.objects.keys() if call.opened.key else []
    return next((key.name for key in keys if key.id == call.opened.key), "")


async def _gateway(visit: Visit) -> str:
    """Return where applications call, for code that is copied."""
    return visit.site.gateway_url or str((await visit.control.machine.health()).get("gateway") or _GATEWAY)


async def _call(visit: Visit) -> Call:
    call_id = visit.path_params["id"].lower()
    try:
        id_time_us(call_id)
    except ValueError as error:
        raise NotFound(f"there is no call {call_id[:60]!r}: {error}", param="id") from error
    call = await visit.control.records.get(call_id)
    if call is None:
        raise NotFound(
            f"there is no call {call_id}; it was never recorded here, was erased, or is too old", param="id"
        )
    return call


def _trace_address(visit: Visit, call: Call) -> str:
    parsed = parse_trace_parent(call.opened.trace_parent)
    return visit.link(f"/traces/{parsed[0]}") if parsed is not None else ""


async def _in_trace(visit: Visit, call: Call) -> InTrace | None:
    """Return what is known of a call's trace; None where it is this call alone."""
    parsed = parse_trace_parent(call.opened.trace_parent)
    trace = None
    if parsed is not None:
        trace = await visit.control.records.trace(parsed[0], most_spans=_SPANS, most_calls=0)
    if trace is None or (not trace.spans and trace.more_calls < 2):
        return None
    return InTrace(
        address=_trace_address(visit, call),
        spans=len(trace.spans) + trace.more_spans,
        calls=trace.more_calls,
        around=tuple(around(trace, call)),
    )


async def _neighbours(visit: Visit, call: Call) -> tuple[str, str]:
    """Return the ids of the older and the newer call under the address's filters, empty where there is none."""
    try:
        query = query_of(visit, limit=1)
    except CallerError:
        query = CallQuery(limit=1)
    find = visit.control.records.find
    older = await find(with_fields(query, before=call.id, limit=1), payload=False)
    at_us = id_time_us(call.id)
    for seconds in _AHEAD_S:
        bounds = {"since_us": at_us, "until_us": at_us + seconds * 1_000_000, "before": "", "limit": _NEAR}
        found = [
            one.id for one in await find(with_fields(query, **bounds), payload=False) if one.id > call.id
        ]
        if found:
            return (older[0].id if older else ""), found[-1]
        if at_us + seconds * 1_000_000 > visit.now_us:
            break
    return (older[0].id if older else ""), ""


def _payloads(call: Call) -> list[tuple[str, bytes]]:
    pairs = [
        ("request", call.opened.request),
        ("variables", call.opened.variables),
        ("response", call.closed.response if call.closed else b""),
    ]
    return [(name, raw) for name, raw in pairs if raw]


def _raw(raw: bytes) -> tuple[str, int]:
    """Return a payload as text, and how many of its characters are left out."""
    text = raw.hex() if len(raw) == _SHA256_BYTES and raw[:1] not in b"{[" else pretty(raw)
    return text[:_RAW], max(0, len(text) - _RAW)


def _hidden(call: Call) -> str:
    """Return the key of the words that say why there is no conversation, empty where there is one."""
    if call.opened.payload in _HIDDEN:
        return f"call.kept_{call.opened.payload}"
    return "" if call.opened.request else "call.kept_nothing"


def _parameters(call: Call) -> list[tuple[str, str]]:
    """Return what the request set beside its words, for people."""
    body = decode(call.opened.request)
    if not isinstance(body, dict):
        return []
    large = ("messages", "input", "prompt", "system", "instructions", "model")
    rows = [(str(name)[:60], value) for name, value in body.items() if name not in large]
    return [(name, _short(value)) for name, value in rows[:40]]


def _short(value: object) -> str:
    if isinstance(value, list):
        names = [one.get("function", {}).get("name") for one in value[:8] if isinstance(one, dict)
                 and isinstance(one.get("function"), dict)]  # fmt: skip
        return ", ".join(str(name) for name in names) if any(names) else f"[{len(value)}]"
    text = value if isinstance(value, str) else repr(value)
    return text[:120]


def _feedback_fields(fields: dict[str, str]) -> dict[str, object]:
    kept: dict[str, object] = {
        name: fields[name].strip() for name in ("name", "value", "comment", "correction") if fields.get(name)
    }
    if fields.get("score"):
        try:
            score = float(fields["score"])
        except ValueError as error:
            raise CallerError(f"score {fields['score'][:20]!r} must be a number", param="score") from error
        if not math.isfinite(score):
            raise CallerError("score must be a finite number", param="score")
        kept["score"] = score
    if not kept.keys() - {"name"}:
        raise CallerError("say something: a score, a comment or a correction", param="score")
    return {"name": "thumbs"} | kept


ROUTES = (
    Route("GET", "/calls/{id}.json", download),
    Route("GET", "/calls/{id}", show),
    Route("POST", "/calls/{id}/feedback", give_feedback, "editor"),
)
