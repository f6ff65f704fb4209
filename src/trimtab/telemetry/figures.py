"""Labelled figures of `/metrics`: counted from the rows that are stored, so that the path of a call counts nothing new.

They begin at zero with the recorder, as any process's counters do. Dimensions come from a caller's or a provider's
text, so each is bounded: what is beyond is counted as `other`.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, Final

from trimtab.ledger import Family, histogram
from trimtab.types import Call, SpanEnded

from .exporter import Exporter

MOST_MODELS: Final = 200
"""Pairs of provider and model."""

MOST_SETS: Final = 3000
"""Combinations of a counter's labels."""

MOST_PROJECTS: Final = 200

OTHER: Final = "other"

DURATION_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0)
FIRST_S: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)

TOKEN_TYPES: Final = (
    "input", "output", "cached", "cache_write", "reasoning", "audio_input", "audio_output",
)  # fmt: skip
"""In the order of `Usage`'s fields. The last five are parts of the first two."""


class _Model:
    """Sums of one model."""

    __slots__ = ("cost_nusd", "durations", "durations_s", "estimated", "firsts", "firsts_s", "tokens")

    def __init__(self) -> None:
        self.durations = [0] * (len(DURATION_S) + 1)
        self.durations_s = 0.0
        self.firsts = [0] * (len(FIRST_S) + 1)
        self.firsts_s = 0.0
        self.tokens = [0] * len(TOKEN_TYPES)
        self.cost_nusd = 0
        self.estimated = 0


class Figures:
    """Counts calls of purpose `live`. About 5 µs each."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, ...], int] = {}
        self._attempts: dict[tuple[str, ...], int] = {}
        self._models: dict[tuple[str, ...], _Model] = {}
        self._projects: dict[tuple[str, ...], list[int]] = {}
        self.stored = 0
        self.lag_s = 0.0
        """How long the last batch's oldest call had ended before it was stored."""

    def add(self, rows: Sequence[Call] | Sequence[SpanEnded], new: int, now_us: int) -> None:
        """Count rows that the store has now.

        Args:
            rows: as they were handed to the store.
            new: how many of them it did not have; those that it had come first, for it read them before a crash.
            now_us: the time.
        """
        ends = []
        for row in rows[len(rows) - new :]:
            if isinstance(row, Call):
                self.stored += 1
                if row.closed is not None:
                    ends.append(row.closed.closed_us)
                if row.opened.purpose == "live":
                    self._count(row)
        if ends:
            self.lag_s = max(now_us - min(ends), 0) / 1e6

    def _count(self, call: Call) -> None:
        opened, closed = call.opened, call.closed
        full = (closed.model if closed else "") or opened.model
        key = _bounded(self._models, (full.partition("/")[0], full), MOST_MODELS)
        code = closed.error_code if closed else ""
        labels: tuple[str, ...] = (*key, opened.kind, "true" if opened.stream else "false", call.state, code)
        labels = _bounded(self._calls, labels, MOST_SETS)
        self._calls[labels] = self._calls.get(labels, 0) + 1
        project = self._projects.setdefault(
            _bounded(self._projects, (opened.project,), MOST_PROJECTS), [0, 0, 0]
        )
        project[0] += 1
        project[1] += call.state == "error"
        model = self._models.get(key)
        if model is None:
            model = self._models[key] = _Model()
        if closed is None:
            return
        project[2] += closed.cost_nusd
        model.cost_nusd += closed.cost_nusd
        model.estimated += closed.usage.estimated
        tokens, usage = model.tokens, closed.usage
        tokens[0] += usage.input_tokens
        tokens[1] += usage.output_tokens
        if usage.cached_tokens or usage.cache_write_tokens or usage.reasoning_tokens:
            tokens[2] += usage.cached_tokens
            tokens[3] += usage.cache_write_tokens
            tokens[4] += usage.reasoning_tokens
        if usage.audio_input_tokens or usage.audio_output_tokens:
            tokens[5] += usage.audio_input_tokens
            tokens[6] += usage.audio_output_tokens
        took_s = max(closed.closed_us - opened.opened_us, 0) / 1e6
        model.durations[bisect_left(DURATION_S, took_s)] += 1
        model.durations_s += took_s
        if opened.stream and closed.first_byte_us:
            first_s = closed.first_byte_us / 1e6
            model.firsts[bisect_left(FIRST_S, first_s)] += 1
            model.firsts_s += first_s
        for attempt in closed.attempts:
            tried: tuple[str, ...] = (attempt.target.partition("/")[0], attempt.target, attempt.error_code)
            tried = _bounded(self._attempts, tried, MOST_SETS)
            self._attempts[tried] = self._attempts.get(tried, 0) + 1

    def families(self) -> list[Family]:
        """Return everything counted."""
        of_calls = ("provider", "model", "kind", "stream", "outcome", "error_code")
        models = [({"provider": key[0], "model": key[1]}, model) for key, model in self._models.items()]
        return [
            _counter("trimtab_calls", "Calls by model and outcome.", of_calls, self._calls),
            _counter(
                "trimtab_attempts",
                "Requests to targets; error_code is empty where one answered.",
                ("provider", "model", "error_code"),
                self._attempts,
            ),
            histogram(
                "trimtab_call_duration_seconds",
                "From a call's opening to its end.",
                DURATION_S,
                [(labels, model.durations, model.durations_s) for labels, model in models],
            ),
            histogram(
                "trimtab_time_to_first_token_seconds",
                "From a stream's opening to its first content.",
                FIRST_S,
                [(labels, model.firsts, model.firsts_s) for labels, model in models],
            ),
            Family(
                "trimtab_tokens",
                "counter",
                "Billed tokens; types other than input and output are parts of those.",
                [
                    ("_total", {**labels, "type": kind}, count)
                    for labels, model in models
                    for kind, count in zip(TOKEN_TYPES, model.tokens, strict=True)
                    if count or kind in ("input", "output")
                ],
            ),
            Family(
                "trimtab_cost_usd",
                "counter",
                "Cost in USD.",
                [("_total", labels, model.cost_nusd / 1e9) for labels, model in models],
            ),
            Family(
                "trimtab_estimated_calls",
                "counter",
                "Calls whose usage is an estimate.",
                [("_total", labels, model.estimated) for labels, model in models],
            ),
            *self._of_projects(),
            Family("trimtab_stored_calls", "counter", "Calls stored.", [("_total", {}, self.stored)]),
        ]

    def _of_projects(self) -> list[Family]:
        about = (
            ("trimtab_project_calls", "Calls of a project.", 0, 1),
            ("trimtab_project_errors", "Calls of a project that ended in an error.", 1, 1),
            ("trimtab_project_cost_usd", "Cost of a project in USD.", 2, 1e9),
        )
        return [
            Family(
                name,
                "counter",
                text,
                [
                    ("_total", {"project": key[0]}, sums[at] / unit if unit != 1 else sums[at])
                    for key, sums in self._projects.items()
                ],
            )
            for name, text, at, unit in about
        ]


def export_families(exporter: Exporter) -> list[Family]:
    """Return how far each sink of an exporter is."""
    state = exporter.state()
    counts = (
        ("trimtab_exported", "Calls and spans that a sink took.", "delivered"),
        ("trimtab_export_rejected", "Calls and spans that a sink would not take.", "rejected"),
        ("trimtab_export_dropped", "Calls and spans that fell out of a sink's backlog.", "dropped"),
        ("trimtab_export_gone", "Calls and spans that were erased before they were sent.", "gone"),
    )
    waiting = [("", {"sink": name}, number) for name, number in exporter.waiting().items()]
    failing = [("", {"sink": name}, int(bool(cursor.error))) for name, cursor in state.items()]
    return [
        *(
            Family(
                name, "counter", about, [("_total", {"sink": s}, getattr(c, field)) for s, c in state.items()]
            )
            for name, about, field in counts
        ),
        Family("trimtab_export_waiting", "gauge", "Calls and spans that wait for a sink.", waiting),
        Family("trimtab_export_failing", "gauge", "1 while a sink takes nothing.", failing),
    ]


def _bounded(there: dict[tuple[str, ...], Any], key: tuple[str, ...], most: int) -> tuple[str, ...]:
    """Return the key, or where there are as many as may be, one whose every part is `other`."""
    return key if key in there or len(there) < most else (OTHER,) * len(key)


def _counter(name: str, about: str, labels: tuple[str, ...], counts: dict[tuple[str, ...], int]) -> Family:
    samples = [("_total", dict(zip(labels, key, strict=True)), count) for key, count in counts.items()]
    return Family(name, "counter", about, samples)
