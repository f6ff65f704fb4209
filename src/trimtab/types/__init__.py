"""Frozen data that every room speaks: calls, releases, requests, replies, money, errors, ids, clock.

Owns the words (docs/glossary.md) and the shapes of what crosses from room to room.
Promises: no I/O, no state, nothing here imports another room.
Never holds behaviour that could differ between two installations.
Entry: the classes themselves.
"""

from .call import (
    Attempt,
    Call,
    CallKind,
    CallState,
    Closed,
    FeedbackGiven,
    Opened,
    PayloadPolicy,
    Purpose,
    Record,
)
from .clock import Clock, SystemClock
from .errors import TrimtabError
from .events import (
    CONTENT_EVENTS,
    ContentDelta,
    Done,
    Event,
    Finish,
    Frame,
    ProviderFault,
    ReasoningDelta,
    RefusalDelta,
    Started,
    ToolCallDelta,
    UsageReport,
)
from .exchange import Completion, Deadlines, Generate, Provider, Reply, ReplyHead, Request
from .ids import id_floor, id_time_us, new_id
from .money import charge_nusd, format_usd, price_nusd
from .release import Epoch, Project, Release
from .snapshot import (
    SNAPSHOT_FORMAT,
    KeySpec,
    Policy,
    ProviderSpec,
    RetryPolicy,
    RouteSpec,
    Snapshot,
    TargetSpec,
    WeightedRelease,
)
from .usage import Usage

__all__ = [
    "CONTENT_EVENTS",
    "SNAPSHOT_FORMAT",
    "Attempt",
    "Call",
    "CallKind",
    "CallState",
    "Clock",
    "Closed",
    "Completion",
    "ContentDelta",
    "Deadlines",
    "Done",
    "Epoch",
    "Event",
    "FeedbackGiven",
    "Finish",
    "Frame",
    "Generate",
    "KeySpec",
    "Opened",
    "PayloadPolicy",
    "Policy",
    "Project",
    "Provider",
    "ProviderFault",
    "ProviderSpec",
    "Purpose",
    "ReasoningDelta",
    "Record",
    "RefusalDelta",
    "Release",
    "Reply",
    "ReplyHead",
    "Request",
    "RetryPolicy",
    "RouteSpec",
    "Snapshot",
    "Started",
    "SystemClock",
    "TargetSpec",
    "ToolCallDelta",
    "TrimtabError",
    "Usage",
    "UsageReport",
    "WeightedRelease",
    "charge_nusd",
    "format_usd",
    "id_floor",
    "id_time_us",
    "new_id",
    "price_nusd",
]
