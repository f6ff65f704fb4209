"""One call, free of HTTP servers: resolve → open → attempt → stream → record.

Owns retries, fallbacks, deadlines, the two lanes of a stream, and when a call's records are written.
Promises: recorded before a provider is asked and before the last byte is handed out; a broken stream ends in an
explicit error; before the first content another target may take over unseen; cancelling closes the upstream socket.
Never imports the slow loop (release, drift, tuning, evals), and never branches on a provider's name.
Entry: `Core.call(Ask(...))`.
"""

from .ask import Ask
from .call import LiveCall
from .core import Core, Shared, feedback_record
from .health import Board, TargetFigure, read_targets, target_figures
from .names import full_name
from .ports import Counts, Keep, Log, ReplyCache
from .stages import StreamStage
from .state import State

__all__ = [
    "Ask",
    "Board",
    "Core",
    "Counts",
    "Keep",
    "LiveCall",
    "Log",
    "ReplyCache",
    "Shared",
    "State",
    "StreamStage",
    "TargetFigure",
    "feedback_record",
    "full_name",
    "read_targets",
    "target_figures",
]
