"""The whole text of `/metrics`: the counters of all workers, and the files that other processes publish."""

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from trimtab.ledger.counters import BUCKETS, COUNTER_NAMES, bucket_bound_ms, read_all
from trimtab.storage import write_atomically

from .exposition import OPENMETRICS, PLAIN, Family, Format, histogram, render

_NO_COUNTER: Final = frozenset({"in_flight", "latency_us_sum"})

_ABOUT: Final = {
    "requests": "HTTP requests to the gateway.",
    "answered": "Calls that were answered whole.",
    "errors": "Calls that ended in an error.",
    "cancelled": "Calls whose caller went away.",
    "opened": "Calls that began.",
    "rejected": "Requests that were refused before a call began.",
    "upstream_attempts": "Requests to providers.",
    "retries": "Attempts at a target that was tried before in the same call.",
    "fallbacks": "Attempts at a fallback model.",
    "cost_nusd": "Cost in billionths of a USD.",
    "unrecorded_opened": "Calls whose beginning could not be recorded.",
    "unrecorded_closed": "Calls whose end could not be recorded.",
}
"""What needs saying; the others say it by their names."""


def metrics_text(
    folder: str | Path, published: str | Path = "", form: Format = PLAIN, own: Iterable[Family] = ()
) -> str:
    """Return all processes' counters together, their latencies as one histogram in seconds, and what is published.

    About 0.5 ms, and the reading of the published files.

    Args:
        folder: where the counters stand.
        published: where `publish_families` writes; empty: nowhere.
        form: the format.
        own: what the asking process adds.

    Raises:
        FormatTooNew: a newer Trimtab made one of the counters' files.
    """
    text = render((*_families(read_all(Path(folder))), *own), form)
    if published:
        text += "".join(_read(path) for path in sorted(Path(published).glob(f"*{form.suffix}")))
    return text + "# EOF\n" if form.is_open else text


def publish_families(folder: Path, name: str, families: Iterable[Family]) -> None:
    """Put figures before whoever scrapes, in place of those published before under the same name.

    Raises:
        OSError: the files cannot be written.
    """
    held = list(families)
    for form in (PLAIN, OPENMETRICS):
        write_atomically(folder / f"{name}{form.suffix}", render(held, form).encode(), durable=False)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return ""


def _families(values: Mapping[str, int]) -> Iterator[Family]:
    for name in COUNTER_NAMES:
        if name not in _NO_COUNTER:
            about = _ABOUT.get(name, f"{name.replace('_', ' ').capitalize()}, of all workers.")
            yield Family(f"trimtab_{name}", "counter", about, [("_total", {}, values[name])])
    yield Family("trimtab_in_flight", "gauge", "Requests under way.", [("", {}, max(values["in_flight"], 0))])
    counts = [values[f"latency_ms[{bucket}]"] for bucket in range(BUCKETS)]
    bounds = [float(f"{bucket_bound_ms(bucket) / 1000:.6g}") for bucket in range(BUCKETS - 1)]
    assert not any(math.isinf(bound) for bound in bounds)
    none: dict[str, str] = {}
    series = [(none, counts, values["latency_us_sum"] / 1e6)]
    yield histogram("trimtab_latency_seconds", "From a call's opening to its end.", bounds, series)
