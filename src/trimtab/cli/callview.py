"""One call as data, as a row and as a page."""

from collections.abc import Iterator
from typing import Any

import msgspec

from trimtab.types import Attempt, Call, Closed, FeedbackGiven, format_usd

from .terminal import (
    Cell,
    Column,
    fit,
    one_line,
    paint,
    printable,
    show_duration,
    show_iso,
    show_time,
    write,
)

_STATE_STYLE = {"ok": "green", "error": "red", "cancelled": "yellow", "unfinished": "magenta"}

_SHA256_BYTES = 32

SHORT_ID = 18
"""Characters of an id that lists show: its millisecond and 12 random bits. `calls show` takes them too."""

WIDE = 120
"""Terminals from this width on show a call's words, and then a model's name has a bound."""

MODEL_CELLS = 32
STATE_CELLS = 12
"""Error codes longer than this are cut on terminals that are not wide."""


def list_columns(width: int) -> tuple[Column, ...]:
    """Return the columns of a list of calls for a terminal so wide; 0 stands for a pipe."""
    return (
        Column(title="time"),
        Column(title="id"),
        Column(title="state"),
        Column(title="model", fluid=0 < width < WIDE),
        Column(title="in", align="right", from_width=100),
        Column(title="out", align="right", from_width=100),
        Column(title="cost", align="right", from_width=WIDE),
        Column(title="took", align="right"),
        Column(title="words", fluid=True, from_width=WIDE),
    )


def call_row(call: Call, now_us: int, width: int) -> list[Cell]:
    """Return a call as cells of `list_columns(width)`."""
    closed = call.closed
    usage = closed.usage if closed else None
    state = one_line(closed.error_code if closed and closed.error_code else call.state)
    model = one_line(_model(call))
    texts = (
        "-" if usage is None else _estimated(usage.input_tokens, estimated=usage.estimated),
        "-" if usage is None else _estimated(usage.output_tokens, estimated=usage.estimated),
        _cost(closed),
        show_duration(call.latency_ms),
        one_line(last_words(call), 200),
    )
    narrow = 0 < width < WIDE
    return [
        Cell(show_time(call.opened.opened_us, now_us, brief=narrow)),
        Cell(call.id[:SHORT_ID] if width else call.id, "dim"),
        Cell(fit(state, STATE_CELLS) if narrow else state, _STATE_STYLE[call.state]),
        Cell(fit(model, MODEL_CELLS) if width >= WIDE else model),
        *map(Cell, texts),
    ]


def call_line(call: Call, now_us: int, width: int) -> str:
    """Return a call as one line of `trimtab tail`, cut to the terminal's width; 0 stands for a pipe."""
    time, call_id, state, model, read, written, _price, took, words = call_row(call, now_us, width)
    fields = (
        (time, 8),
        (state, 10 if width else 22),
        (model, 16 if 0 < width < 100 else MODEL_CELLS),
        (Cell(f"{read.text}+{written.text}".rjust(9)), 9),
        (Cell(took.text.rjust(8)), 8),
        (call_id, 0),
        (words, 0),
    )
    parts, left = [], width or 10_000
    for cell, cells in fields:
        text = fit(cell.text, min(cells or left, left), fill=bool(cells))
        parts.append(paint(text, cell.style))
        left -= (cells or len(text)) + 2
        if left <= 0:
            break
    return "  ".join(parts).rstrip()


def write_call(call: Call) -> None:
    """Write everything about one call for people: facts, attempts, messages, answer."""
    for name, value, style in _facts(call):
        write(f"{name:<10}  {paint(printable(value), style)}")
    if call.closed:
        for attempt in call.closed.attempts:
            write(f"{'attempt':<10}  {printable(_attempt(attempt))}")
    for given in call.feedback:
        write(f"{'feedback':<10}  {printable(_feedback(given))}")
    for role, text in (*_messages(call.opened.request), *_answers(call.closed)):
        write()
        write(paint(f"── {printable(role)}", "bold cyan"))
        write(printable(text))


def _facts(call: Call) -> Iterator[tuple[str, str, str]]:
    opened, closed = call.opened, call.closed
    yield "call", call.id, "bold"
    yield "state", _state_text(call), _STATE_STYLE[call.state]
    yield "opened", show_iso(opened.opened_us), ""
    served = f" (served as {closed.model_served})" if closed and closed.model_served else ""
    yield "model", f"{_model(call)}{served}, asked as {opened.model_asked!r}", ""
    if closed is not None:
        ttft = (
            f", first byte after {show_duration(closed.first_byte_us / 1000)}" if closed.first_byte_us else ""
        )
        yield "took", show_duration(call.latency_ms) + ttft, ""
        yield "usage", _usage_text(closed), ""
        yield "cost", _cost(closed), ""
        if closed.finish_reason:
            yield "finish", closed.finish_reason, ""
        if closed.degraded:
            yield "degraded", "yes: a fallback or the own model answered in another's place", "yellow"
        if closed.provider_response_id or closed.provider_request_id:
            yield (
                "provider",
                f"{closed.provider_response_id or '-'} / {closed.provider_request_id or '-'}",
                "",
            )
    yield from _lineage(call)


def _lineage(call: Call) -> Iterator[tuple[str, str, str]]:
    opened = call.opened
    if opened.route:
        yield "route", f"{opened.route} / {opened.channel}", ""
    release = (call.closed.release if call.closed else "") or opened.release
    if release:
        yield "release", release, ""
    if opened.prompt_name:
        yield "prompt", f"{opened.prompt_name} v{opened.prompt_version} {opened.prompt_label}".rstrip(), ""
    optional = {
        "purpose": "" if opened.purpose == "live" else opened.purpose,
        "project": "" if opened.project == "default" else opened.project,
        **{name: getattr(opened, name) for name in ("key", "user", "session")},
        "tags": ", ".join(opened.tags),
        "client": opened.client,
        "trace": opened.trace_parent,
        "parent": opened.parent_call,
        "replay of": opened.replay_of,
    }
    yield from ((name, value, "") for name, value in optional.items() if value)


def _state_text(call: Call) -> str:
    closed = call.closed
    if closed is None:
        return "unfinished: its process died before the answer was complete; it may have been billed"
    if not closed.error_code:
        return call.state
    return f"{call.state}: {closed.error_code}: {closed.error_message}"


def _usage_text(closed: Closed) -> str:
    usage = closed.usage
    text = f"{usage.input_tokens} in, {usage.output_tokens} out"
    parts = {
        "cached": usage.cached_tokens,
        "written to cache": usage.cache_write_tokens,
        "reasoning": usage.reasoning_tokens,
        "audio in": usage.audio_input_tokens,
        "audio out": usage.audio_output_tokens,
        "pictures in": usage.image_input_tokens,
        "pictures out": usage.image_output_tokens,
        "kept for an hour": usage.cache_write_1h_tokens,
    }
    inside = ", ".join(f"{count} {name}" for name, count in parts.items() if count)
    beside = {"of citations": usage.citation_tokens, "searches": usage.searches}
    text += f" (of these {inside})" if inside else ""
    text += "".join(f", {count} {name}" for name, count in beside.items() if count)
    text += f", tier {one_line(usage.tier)}" if usage.tier else ""
    return text + (", estimated" if usage.estimated else "")


def _attempt(attempt: Attempt) -> str:
    result = attempt.error_code or "ok"
    status = f" (HTTP {attempt.status})" if attempt.status else ""
    began, took = show_duration(attempt.started_us / 1000), show_duration(attempt.took_us / 1000)
    return f"{attempt.target}: {result}{status}, began at {began}, took {took}"


def _feedback(given: FeedbackGiven) -> str:
    parts = [given.value, "" if given.score is None else f"{given.score:g}", given.comment, given.correction]
    return f"{given.name}: " + ", ".join(part for part in parts if part)


def _model(call: Call) -> str:
    return (call.closed.model if call.closed else "") or call.opened.model or call.opened.model_asked


def _estimated(tokens: int, *, estimated: bool) -> str:
    return f"~{tokens}" if estimated else f"{tokens}"


def _cost(closed: Closed | None) -> str:
    if closed is None or not closed.price_version:
        return "-"
    said = closed.usage.reported_cost_nusd
    reported = "" if said is None or said == closed.cost_nusd else f" (the provider says {format_usd(said)})"
    return format_usd(closed.cost_nusd) + (" (estimated)" if closed.usage.estimated else "") + reported


def last_words(call: Call) -> str:
    """Return the last message of the request, or the answer where the request was not kept."""
    texts = [*_messages(call.opened.request)] or [*_answers(call.closed)]
    return texts[-1][1] if texts else ""


def _messages(raw: bytes) -> Iterator[tuple[str, str]]:
    body = _decode(raw)
    if not isinstance(body, dict):
        if raw:
            yield "request", str(_payload_json(raw))
        return
    for message in _dicts(body.get("messages")):
        yield str(message.get("role", "?")), _content(message)
    if "input" in body:
        value = body["input"]
        yield "input", value if isinstance(value, str) else _compact(value)


def _answers(closed: Closed | None) -> Iterator[tuple[str, str]]:
    if closed is None or not closed.response:
        return
    body = _decode(closed.response)
    if not isinstance(body, dict):
        yield "answer", str(_payload_json(closed.response))
        return
    choices = _dicts(body.get("choices"))
    for choice in choices:
        message = choice.get("message")
        number = f" {choice.get('index')}" if len(choices) > 1 else ""
        yield f"answer{number}", _content(message) if isinstance(message, dict) else _compact(choice)
    if not choices:
        yield "answer", _compact(body)


def _content(message: dict[str, Any]) -> str:
    content = message.get("content")
    parts = [content] if isinstance(content, str) else [_part(part) for part in _dicts(content)]
    others = ((name, message.get(name)) for name in ("reasoning_content", "refusal"))
    parts += [f"({name}) {text}" for name, text in others if isinstance(text, str) and text]
    for tool in _dicts(message.get("tool_calls")):
        function = tool.get("function")
        if isinstance(function, dict):
            parts.append(f"(tool call) {function.get('name')}({function.get('arguments', '')})")
    return "\n".join(parts)


def _part(part: dict[str, Any]) -> str:
    text = part.get("text")
    return text if isinstance(text, str) else f"({part.get('type', 'part')})"


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _decode(raw: bytes) -> object:
    try:
        return msgspec.json.decode(raw) if raw else None
    except msgspec.DecodeError:
        return None


def _payload_json(raw: bytes) -> object:
    """Return a payload as JSON data, `sha256:...` under the `hash` policy, None where not kept."""
    if not raw:
        return None
    value = _decode(raw)
    if value is not None:
        return value
    if len(raw) == _SHA256_BYTES:
        return f"sha256:{raw.hex()}"
    return raw.decode("utf-8", "replace")


def _compact(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 2000 else text[:2000] + " ..."
