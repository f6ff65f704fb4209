"""The counters in Prometheus' text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats)."""

import math
from pathlib import Path

from .counters import BUCKETS, COUNTER_NAMES, bucket_bound_ms, read_all

_NO_COUNTER = frozenset({"in_flight", "latency_us_sum"})


def metrics_text(folder: str | Path) -> str:
    """Return all processes' counters together, and their latencies as one histogram in seconds.

    Raises:
        FormatTooNew: a newer Trimtab made one of the files.
    """
    values = read_all(Path(folder))
    lines = []
    for name in COUNTER_NAMES:
        if name not in _NO_COUNTER:
            lines += [f"# TYPE trimtab_{name}_total counter", f"trimtab_{name}_total {values[name]}"]
    lines += ["# TYPE trimtab_in_flight gauge", f"trimtab_in_flight {values['in_flight']}"]
    lines.append("# TYPE trimtab_latency_seconds histogram")
    count = 0
    for bucket in range(BUCKETS):
        count += values[f"latency_ms[{bucket}]"]
        bound = bucket_bound_ms(bucket)
        label = "+Inf" if math.isinf(bound) else f"{bound / 1000:.6g}"
        lines.append(f'trimtab_latency_seconds_bucket{{le="{label}"}} {count}')
    lines += [
        f"trimtab_latency_seconds_sum {values['latency_us_sum'] / 1e6}",
        f"trimtab_latency_seconds_count {count}",
    ]
    return "\n".join(lines) + "\n"
