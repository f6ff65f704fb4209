"""`trimtab calls`: what was asked and answered, from the store."""

from dataclasses import dataclass
from typing import Annotated

from cyclopts import App, Parameter, validators

from trimtab.storage import CallQuery, call_json
from trimtab.types import Call, CallState, Purpose, SystemClock

from .callview import SHORT_ID, call_row, list_columns, write_call
from .options import AsJson, Place
from .reach import Calls, open_calls
from .terminal import CommandFailed, note, parse_when, terminal_width, write_json, write_table

app = App(name="calls", help="List, search and show recorded calls.")

_ID_DIGITS = 32
_MS_DIGITS = 12
"""Hex digits of a UUIDv7 that carry its milliseconds."""

_CANDIDATES = 1000
"""Calls looked through for an abbreviated id at most."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Which calls; several filters must all hold."""

    model: Annotated[str, Parameter(help="`provider/model`, or `provider/` for all of it.")] = ""
    provider: Annotated[str, Parameter(help="Provider's name.")] = ""
    route: Annotated[str, Parameter(help="Route's name.")] = ""
    release: Annotated[str, Parameter(help="Release's id.")] = ""
    state: Annotated[CallState | None, Parameter(help="How it ended.")] = None
    error: Annotated[str, Parameter(help="Error code, such as rate_limited.")] = ""
    key: Annotated[str, Parameter(help="Id of the key it was made with.")] = ""
    user: Annotated[str, Parameter(help="`user` of the request.")] = ""
    session: Annotated[str, Parameter(help="Session of the request.")] = ""
    tag: Annotated[str, Parameter(help="A tag of the request.")] = ""
    project: Annotated[str, Parameter(help="Project; else all.")] = ""
    purpose: Annotated[Purpose | None, Parameter(help="Why it was made; else any.")] = None
    since: Annotated[str, Parameter(help="From then on: 15m, 1h, 2d, 2026-11-23, 2026-11-23T14:30.")] = ""
    until: Annotated[str, Parameter(help="Before then; written like --since.")] = ""


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Filters(Which):
    """Which calls, and how many of them."""

    before: Annotated[str, Parameter(help="Older than this call's id: the next page.")] = ""
    limit: Annotated[
        int,
        Parameter(help="At most so many.", show_default=True, validator=validators.Number(gte=1, lte=10_000)),
    ] = 50


@app.default
def calls(
    *words: str,
    filters: Filters | None = None,
    full: Annotated[bool, Parameter(negative=())] = False,
    place: Place | None = None,
    json: AsJson = False,
) -> int:
    """List recorded calls, newest first.

    Args:
        words: Words that must all occur in request or answer; quote a phrase twice: '"free of charge"'.
        filters: Which calls.
        full: With --json: request and answer too.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    filters = filters or Filters()
    now_us = SystemClock().now_us()
    query = call_query(words, filters, now_us)
    wide = not json or full
    with open_calls(place or Place()) as store:
        if query.before:
            query = _with_whole_id(store, query)
        found = store.find(query, payload=wide)
    if json:
        write_json([call_json(call, payload=full) for call in found])
        return 0
    width = terminal_width()
    if found:
        write_table(list_columns(width), [call_row(call, now_us, width) for call in found])
    if not found:
        note("No calls" + (" match." if query != CallQuery(limit=query.limit) else " recorded yet."))
    elif len(found) == query.limit:
        note(f"Older ones: --before {found[-1].id[:SHORT_ID] if width else found[-1].id}", "dim")
    return 0


@app.command
def show(call_id: str, /, place: Place | None = None, *, json: AsJson = False) -> int:
    """Show one call whole: messages, answer, attempts, usage, cost, and where it came from.

    Args:
        call_id: Its id, the beginning of it, or `last` for the newest call.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    with open_calls(place or Place()) as store:
        call = find_call(store, call_id)
    if json:
        write_json(call_json(call, payload=True))
    else:
        write_call(call)
    return 0


def call_query(words: tuple[str, ...], filters: Which, now_us: int) -> CallQuery:
    """Return the query that words and filters mean; without a page of its own, for more than `Filters`.

    Raises:
        CommandFailed: a time cannot be read.
    """
    return CallQuery(
        project=filters.project,
        purpose=filters.purpose,
        model=filters.model,
        provider=filters.provider,
        route=filters.route.removeprefix("route/"),
        release=filters.release,
        state=filters.state,
        error_code=filters.error,
        key=filters.key,
        user=filters.user,
        session=filters.session,
        tag=filters.tag,
        since_us=parse_when(filters.since, now_us) if filters.since else 0,
        until_us=parse_when(filters.until, now_us) if filters.until else 0,
        text=" ".join(words),
        before=filters.before if isinstance(filters, Filters) else "",
        limit=filters.limit if isinstance(filters, Filters) else 0,
    )


def find_call(store: Calls, wanted: str) -> Call:
    """Return the call of an id, of the beginning of one, or the newest for `last`.

    Raises:
        CommandFailed: there is none, or more than one.
    """
    if wanted == "last":
        newest = store.find(CallQuery(limit=1))
        if not newest:
            raise CommandFailed("no calls are recorded yet", mend="trimtab call 'Hello'", exit_code=1)
        wanted = newest[0].id
    elif len(_digits(wanted)) < _ID_DIGITS:
        wanted = _whole_id(store, wanted)
    call = store.get(wanted)
    if call is None:
        raise CommandFailed(
            f"there is no call {wanted!r}", mend="`trimtab calls` lists those that are recorded", exit_code=1
        )
    return call


def _with_whole_id(store: Calls, query: CallQuery) -> CallQuery:
    import msgspec

    if len(_digits(query.before)) >= _ID_DIGITS:
        return query
    return msgspec.structs.replace(query, before=_whole_id(store, query.before))


def _whole_id(store: Calls, start: str) -> str:
    digits = _digits(start)
    if len(digits) < 8:
        raise CommandFailed(
            f"{start!r} is too short for an id",
            mend="give at least its first 8 digits, or `last`",
            exit_code=2,
        )
    low = int(digits[:_MS_DIGITS].ljust(_MS_DIGITS, "0"), 16) * 1000
    high = int(digits[:_MS_DIGITS].ljust(_MS_DIGITS, "f"), 16) * 1000 + 1000
    # An id's time may be a little off its opening's: ids carry whole milliseconds.
    around = CallQuery(since_us=max(0, low - 1000), until_us=high + 1000, limit=_CANDIDATES)
    found = [call.id for call in store.find(around) if _digits(call.id).startswith(digits)]
    if len(found) != 1:
        said = "several calls" if found else "no call"
        mend = f"one of them is {found[0]}; give more of it" if found else "`trimtab calls` lists them"
        raise CommandFailed(f"{said} begin with {start!r}", mend=mend, exit_code=2 if found else 1)
    return found[0]


def _digits(call_id: str) -> str:
    digits = call_id.replace("-", "").lower()
    if not digits or set(digits) - set("0123456789abcdef"):
        raise CommandFailed(
            f"{call_id!r} is no call id", mend="`trimtab calls` shows ids; `last` is the newest", exit_code=2
        )
    return digits
