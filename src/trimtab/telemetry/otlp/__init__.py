"""OTLP over HTTP: calls, an application's spans and metrics, to any collector.

Owns both encodings of OTLP (our own: docs/adr/0009-otlp-encoding.md), the one table of names (`names`), and the
mapping of HTTP answers to what to do next.
Promises: ids are well-formed and the same at every export of a row; no words leave unless `content` says so, and
then only what the payload policy kept; a span joins the trace that its caller sent.
Never retries by itself: it says whether trying again can help.
Entry: `sink`, which the entry-point group `trimtab.sinks` names.
"""

from .export import OtlpOptions, OtlpSink, sink
from .metrics import Tally
from .names import CALL_FACTS, COUNTERS, DETAILS_EVENT, FAILED_EVENT, GAUGES, INSTRUMENTS, SCHEMA
from .traces import application_span, call_spans, in_share, place_of
from .wire import partial_success, to_json, to_protobuf

__all__ = [
    "CALL_FACTS",
    "COUNTERS",
    "DETAILS_EVENT",
    "FAILED_EVENT",
    "GAUGES",
    "INSTRUMENTS",
    "SCHEMA",
    "OtlpOptions",
    "OtlpSink",
    "Tally",
    "application_span",
    "call_spans",
    "in_share",
    "partial_success",
    "place_of",
    "sink",
    "to_json",
    "to_protobuf",
]
