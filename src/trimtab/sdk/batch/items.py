"""What a batch gives: an item for every prompt, and a report of them all."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import overload

import msgspec

from trimtab.sdk.answer import Answer
from trimtab.sdk.errors import ApiError
from trimtab.types import Usage


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a prompt has no answer, as data."""

    code: str
    """Stable, as in `ApiError.code`; `invalid_request` where the prompt itself could not be sent."""
    message: str
    retryable: bool
    """Whether the same prompt may succeed later."""
    attempts: int
    """How often it was sent."""
    status: int = 0
    """HTTP status; 0 where there was none."""
    call_id: str = ""
    retry_after_s: float | None = None

    def as_error(self) -> ApiError:
        """Return it as the exception that a single call would have raised."""
        error = ApiError(
            self.message,
            code=self.code,
            status=self.status,
            call_id=self.call_id,
            retryable=self.retryable,
            retry_after_s=self.retry_after_s,
        )
        error.attempts = self.attempts
        return error


def failure_of(error: ApiError) -> Failure:
    """Return a call's error as data."""
    return Failure(
        code=error.code,
        message=error.message,
        retryable=error.retryable,
        attempts=error.attempts,
        status=error.status,
        call_id=error.call_id,
        retry_after_s=error.retry_after_s,
    )


class Item(msgspec.Struct, frozen=True):
    """One prompt's end."""

    index: int
    """The prompt's place among those given, from 0."""
    result: Answer | Failure
    resumed: bool = False
    """True where the answer was in the resume file."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a batch, so far or in the end."""

    total: int | None
    """Prompts given; None while an iterator of them has not come to its end."""
    asked: int
    """Sent by this run and ended since: `answered` + `failed`."""
    answered: int
    failed: int
    skipped: int
    """Not sent, for the resume file held their answers."""
    input_tokens: int
    """Of what this run asked, as far as the replies named their usage."""
    output_tokens: int
    cost_nusd: int | None
    """Of what this run asked, in billionths of a US dollar; None where not one price is known."""
    unpriced: int
    """Answers of this run without a known cost."""
    wall_s: float
    failures: Mapping[str, int]
    """How many failures of each code."""
    retryable: int
    """Failures that may succeed later: give the same prompts and resume file again."""

    @property
    def done(self) -> int:
        """How many prompts have come to their end: answered, failed or skipped."""
        return self.asked + self.skipped

    def __str__(self) -> str:
        parts = [f"{self.answered} answered", f"{self.failed} failed"]
        if self.failures:
            parts[1] += f" ({', '.join(f'{code} {n}' for code, n in self.failures.items())})"
        if self.skipped:
            parts.append(f"{self.skipped} answered before")
        parts.append(f"{self.input_tokens:,} + {self.output_tokens:,} tokens")
        if self.cost_nusd is not None:
            unknown = f" and {self.unpriced} of unknown price" if self.unpriced else ""
            parts.append(f"${self.cost_nusd / 1e9:.6f}{unknown}")
        return ", ".join((*parts, f"{self.wall_s:.1f} s"))


class Tally:
    """Counts a batch while it runs."""

    __slots__ = ("_answered", "_cost", "_failures", "_priced", "_retryable", "_skipped", "_tokens", "total")

    def __init__(self) -> None:
        self.total: int | None = None
        self._answered = self._priced = self._cost = self._retryable = self._skipped = 0
        self._tokens = (0, 0)
        self._failures: dict[str, int] = {}

    def add(self, item: Item) -> None:
        """Count one item."""
        result = item.result
        if item.resumed:
            self._skipped += 1
        elif isinstance(result, Failure):
            self._failures[result.code] = self._failures.get(result.code, 0) + 1
            self._retryable += result.retryable
        else:
            self._answered += 1
            usage = result.usage or Usage()
            self._tokens = (self._tokens[0] + usage.input_tokens, self._tokens[1] + usage.output_tokens)
            if result.cost_nusd is not None:
                self._priced += 1
                self._cost += result.cost_nusd

    def report(self, wall_s: float) -> Report:
        """Return how things stand."""
        failed = sum(self._failures.values())
        return Report(
            total=self.total,
            asked=self._answered + failed,
            answered=self._answered,
            failed=failed,
            skipped=self._skipped,
            input_tokens=self._tokens[0],
            output_tokens=self._tokens[1],
            cost_nusd=self._cost if self._priced else None,
            unpriced=self._answered - self._priced,
            wall_s=wall_s,
            failures=MappingProxyType(dict(self._failures)),
            retryable=self._retryable,
        )


class Batch(Sequence[Answer | Failure]):
    """A finished batch: for every prompt, in order, its answer or why there is none."""

    __slots__ = ("report", "results")

    def __init__(self, results: Sequence[Answer | Failure], report: Report) -> None:
        self.results = tuple(results)
        self.report = report

    @property
    def answers(self) -> list[Answer]:
        """The answers alone, in order."""
        return [result for result in self.results if isinstance(result, Answer)]

    @property
    def failures(self) -> dict[int, Failure]:
        """The failures, by their prompt's place."""
        return {i: result for i, result in enumerate(self.results) if isinstance(result, Failure)}

    def raise_for_failures(self) -> None:
        """Raise the first failure, if there is one.

        Raises:
            ApiError: a prompt has no answer.
        """
        for failure in self.failures.values():
            raise failure.as_error()

    @overload
    def __getitem__(self, index: int) -> Answer | Failure: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Answer | Failure, ...]: ...
    def __getitem__(self, index: int | slice) -> Answer | Failure | tuple[Answer | Failure, ...]:
        return self.results[index]

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[Answer | Failure]:
        return iter(self.results)

    def __repr__(self) -> str:
        return f"Batch({self.report})"
