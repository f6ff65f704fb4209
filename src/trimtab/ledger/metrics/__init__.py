"""What `/metrics` says: the workers' counters, and what other processes publish beside them.

Owns the two text formats (Prometheus 0.0.4 and OpenMetrics 1.0), and the files through which a process that knows a
figure puts it before whoever scrapes: rendered there, so that a worker only hands on bytes.
Entry: `metrics_text`; `publish_families` in the process that knows.
"""

from .exposition import OPENMETRICS, PLAIN, Family, Format, histogram, render
from .text import metrics_text, publish_families

__all__ = [
    "OPENMETRICS",
    "PLAIN",
    "Family",
    "Format",
    "histogram",
    "metrics_text",
    "publish_families",
    "render",
]
