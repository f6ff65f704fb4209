"""Families of samples as text.

Formats: Prometheus' text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats) and OpenMetrics 1.0
(github.com/prometheus/OpenMetrics, specification), which differ in the names of counters and the end of the file.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Final, Literal, NamedTuple


class Format(NamedTuple):
    """One of the two formats."""

    content_type: str
    suffix: str
    """Of files that hold it."""
    is_open: bool


PLAIN: Final = Format("text/plain; version=0.0.4; charset=utf-8", ".prom", is_open=False)
OPENMETRICS: Final = Format(
    "application/openmetrics-text; version=1.0.0; charset=utf-8", ".openmetrics", is_open=True
)

Labels = Mapping[str, str]


class Family(NamedTuple):
    """All samples of one name."""

    name: str
    """Without the `_total` of a counter."""
    kind: Literal["counter", "gauge", "histogram"]
    about: str
    samples: Sequence[tuple[str, Labels, float]]
    """(suffix, labels, value): a counter's suffix is `_total`, a gauge's empty, a histogram's `_bucket`, `_sum` or
    `_count`."""


def histogram(
    name: str, about: str, bounds: Sequence[float], series: Iterable[tuple[Labels, Sequence[int], float]]
) -> Family:
    """Return a histogram.

    Args:
        name: the family's.
        about: what it is.
        bounds: upper bounds, ascending, without infinity: (b,).
        series: (labels, counts, sum) each; counts are those of single buckets, the last one above all bounds: (b+1,).
    """
    edges = [*(_number(bound) for bound in bounds), "+Inf"]
    samples: list[tuple[str, Labels, float]] = []
    for labels, counts, total in series:
        below = list(accumulate(counts))
        samples += (
            ("_bucket", {**labels, "le": edge}, count) for edge, count in zip(edges, below, strict=True)
        )
        samples += [("_sum", labels, total), ("_count", labels, below[-1])]
    return Family(name, "histogram", about, samples)


def render(families: Iterable[Family], form: Format) -> str:
    """Return families as text, without what ends a file; families without samples are left out."""
    lines = []
    for family in families:
        if not family.samples:
            continue
        counts = family.kind == "counter" and not form.is_open
        named = f"{family.name}_total" if counts else family.name
        lines.append(f"# HELP {named} {_escaped(family.about, quotes=form.is_open)}")
        lines.append(f"# TYPE {named} {family.kind}")
        lines += (
            f"{family.name}{suffix}{_labels(labels)} {_number(value)}"
            for suffix, labels, value in family.samples
        )
    return "".join(f"{line}\n" for line in lines)


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    inside = ",".join(f'{name}="{_escaped(value, quotes=True)}"' for name, value in labels.items())
    return f"{{{inside}}}"


def _escaped(text: str, *, quotes: bool) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text


def _number(value: float) -> str:
    """Return a number as both formats have it: `12`, `0.1`, `1.0`, `+Inf`, `NaN`."""
    if isinstance(value, int) or math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
