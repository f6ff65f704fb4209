"""What a recorder needs of a store that keeps spans. A store without it gets none."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from trimtab.types import SpanEnded


@runtime_checkable
class SpanStore(Protocol):
    """Spans of applications: beside the calls of their trace, and gone with them."""

    def insert_spans(self, spans: Sequence[SpanEnded]) -> int:
        """Store spans, in one transaction a file; idempotent by (`trace_id`, `span_id`). Return how many were new.

        A span goes to the day it started on. Where that day was dropped already, it is left out.

        Raises:
            ValueError: an id is not hexadecimal; then nothing is stored.
            StorageError: a file cannot be written.
        """
        ...
