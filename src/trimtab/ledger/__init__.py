"""The ledger: every call's records, durable before the caller has its last byte, and their way to the store.

Owns the append log's folder: segments, the recorder's lock, the counters of what could not be recorded.
Promises: a record that was appended survives `kill -9` of anything, is stored exactly once, and its segment
is removed only after the store has it for good; damage costs the records it touches, is counted, and kept.
Never decides what may be kept of a call's words (it applies a policy it is given), nor picks a backend.
Entry: `LogWriter.append` in any process that makes calls; `Recorder.run` in one process a folder.
"""

from .counters import COUNTER_NAMES, Counters, bucket_bound_ms, bucket_of, read_all, settle
from .erasure import Beside, ErasureRequest, ErasureResult, erasure_result, request_erasure
from .frames import FORMAT as LOG_FORMAT
from .log import SEGMENT_BYTES, Durability, LogWriter
from .metrics import OPENMETRICS, PLAIN, Family, Format, histogram, metrics_text, publish_families, render
from .payload import Keep, Mask, payload_policies
from .progress import Pause, Progress, Stored
from .recorder import Limits, Recorder
from .segment import left_by_the_dead

__all__ = [
    "COUNTER_NAMES",
    "LOG_FORMAT",
    "OPENMETRICS",
    "PLAIN",
    "SEGMENT_BYTES",
    "Beside",
    "Counters",
    "Durability",
    "ErasureRequest",
    "ErasureResult",
    "Family",
    "Format",
    "Keep",
    "Limits",
    "LogWriter",
    "Mask",
    "Pause",
    "Progress",
    "Recorder",
    "Stored",
    "bucket_bound_ms",
    "bucket_of",
    "erasure_result",
    "histogram",
    "left_by_the_dead",
    "metrics_text",
    "payload_policies",
    "publish_families",
    "read_all",
    "render",
    "request_erasure",
    "settle",
]
