"""Telemetry: what a team's own observability takes from here, and alerts; never on the way of a call.

Owns the feed of stored rows, the exporter with its sinks (OTLP, JSON lines, plugins), the labelled figures of
`/metrics`, and the rules of alerts with their webhooks.
Promises: a row reaches every sink at least once, in spite of restarts and `kill -9`, while the store keeps its day
and the backlog its entry, and what falls out is counted; no words leave unless a sink's settings ask for them.
Never holds up the recorder or the gateway, which do not import it; never picks a backend.
Entry: `Exporter.run`; the port `Sink`.
"""

from .exporter import Cursor, Exporter, Limits, Source, read_cursor
from .feed import Entry, FeedReader, FeedWriter
from .figures import Figures, export_families
from .sink import Batch, MakeSink, Sent, Sink, SinkContext, SinkRefused, SinkUnavailable

__all__ = [
    "Batch",
    "Cursor",
    "Entry",
    "Exporter",
    "FeedReader",
    "FeedWriter",
    "Figures",
    "Limits",
    "MakeSink",
    "Sent",
    "Sink",
    "SinkContext",
    "SinkRefused",
    "SinkUnavailable",
    "Source",
    "export_families",
    "read_cursor",
]
