"""Events of calls, as OTLP log records within the call's trace."""

from typing import Any

from trimtab.types import Call

from .content import words_of
from .names import (
    CALL_FACTS,
    DETAILS_EVENT,
    FAILED_EVENT,
    INPUT_MESSAGES,
    METRIC_FACTS,
    OUTPUT_MESSAGES,
    error_of,
)
from .traces import place_of
from .trees import attributes
from .wire import Tree

_INFO, _WARN = 9, 13
"""Severity numbers; the conventions ask for WARN where an operation failed."""

_SAMPLED = 1


def call_records(call: Call, *, words: bool) -> list[Tree]:
    """Return the events of a call: that it failed; and, where words are wanted, its details with the messages."""
    records = []
    error = error_of(call)
    if error:
        facts: list[tuple[str, Any]] = [("exception.type", error)]
        if words and call.closed:
            facts.append(("exception.message", call.closed.error_message))
        facts += [(fact.name, fact.of(call)) for fact in METRIC_FACTS]
        facts.append(("trimtab.call.id", call.id))
        records.append(_record(call, FAILED_EVENT, (_WARN, "WARN"), facts))
    if words:
        asked, answered = words_of(call)
        if asked or answered:
            facts = [(fact.name, fact.of(call)) for fact in CALL_FACTS]
            facts += [(INPUT_MESSAGES, asked), (OUTPUT_MESSAGES, answered)]
            records.append(_record(call, DETAILS_EVENT, (_INFO, "INFO"), facts))
    return records


def _record(call: Call, event: str, severity: tuple[int, str], facts: list[tuple[str, Any]]) -> Tree:
    place = place_of(call)
    at_us = call.opened.opened_us if call.closed is None else call.closed.closed_us
    return {
        "timeUnixNano": at_us * 1000,
        "observedTimeUnixNano": at_us * 1000,
        "severityNumber": severity[0],
        "severityText": severity[1],
        "body": {"stringValue": event},
        "attributes": attributes(facts),
        "flags": _SAMPLED,
        "traceId": place.trace_id,
        "spanId": place.span_id,
        "eventName": event,
    }
