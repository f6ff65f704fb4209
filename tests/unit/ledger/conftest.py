"""Records, and a store in memory, for the ledger's tests."""

from collections.abc import Callable, Sequence

import msgspec
import pytest

from trimtab.types import Call, Closed, FeedbackGiven, Opened, Usage, new_id


def make_opened(call_id: str = "", *, request: bytes = b'{"model":"m"}', **changes: object) -> Opened:
    record = Opened(
        id=call_id or new_id(),
        opened_us=1_790_000_000_000_000,
        project="default",
        purpose="live",
        kind="chat",
        route="",
        channel="production",
        release="r1",
        arm="",
        model_asked="openai/gpt-4o",
        model="openai/gpt-4o",
        params_hash="p",
        stream=False,
        key="k1",
        session="s",
        user="u",
        tags=("a",),
        client="tests",
        trace_parent="",
        parent_call="",
        replay_of="",
        payload="full",
        request=request,
    )
    return msgspec.structs.replace(record, **changes)


def make_closed(call_id: str, *, response: bytes = b'{"text":"Paris"}', **changes: object) -> Closed:
    record = Closed(
        id=call_id,
        closed_us=1_790_000_000_700_000,
        first_byte_us=300_000,
        state="ok",
        status=200,
        error_code="",
        error_message="",
        model="openai/gpt-4o",
        model_served="gpt-4o-2024-08-06",
        provider="openai",
        provider_response_id="chatcmpl-1",
        provider_request_id="req-1",
        fingerprint="fp",
        finish_reason="stop",
        attempts=(),
        usage=Usage(input_tokens=12, output_tokens=3),
        cost_nusd=60_000,
        price_version="2026-11",
        degraded=False,
        cache_hit=False,
        response=response,
        release="r1",
    )
    return msgspec.structs.replace(record, **changes)


def make_feedback(call_id: str) -> FeedbackGiven:
    return FeedbackGiven(
        id=new_id(),
        call_id=call_id,
        at_us=1_790_000_001_000_000,
        project="default",
        name="thumbs",
        score=1.0,
        value="",
        comment="",
        correction="",
        user="u",
        key="k1",
    )


class MemoryStore:
    """A `CallStore`'s writing side, that can be told to fail; calls of an id in `poison` cannot be stored."""

    def __init__(self) -> None:
        self.calls: dict[str, Call] = {}
        self.feedback: dict[str, FeedbackGiven] = {}
        self.unindexed: set[str] = set()
        self.poison: set[str] = set()
        self.failure: Exception | None = None
        self.index_failure: Exception | None = None
        self.flushes = 0
        self.batches: list[int] = []
        self.on_insert: Callable[[], None] = lambda: None

    def insert(self, calls: Sequence[Call]) -> int:
        self.on_insert()
        if self.failure is not None:
            raise self.failure
        if any(call.id in self.poison for call in calls):
            raise OverflowError("int too big")
        self.batches.append(len(calls))
        new = 0
        for call in calls:
            there = self.calls.get(call.id)
            if there is None:
                self.calls[call.id] = call
                self.unindexed.add(call.id)
                new += 1
            elif there.closed is None and call.closed is not None:
                self.calls[call.id] = msgspec.structs.replace(there, closed=call.closed, state=call.state)
        return new

    def insert_feedback(self, rows: Sequence[FeedbackGiven]) -> int:
        if self.failure is not None:
            raise self.failure
        new = [row for row in rows if row.id not in self.feedback]
        self.feedback |= {row.id: row for row in new}
        return len(new)

    def get(self, call_id: str) -> Call | None:
        if self.failure is not None:
            raise self.failure
        return self.calls.get(call_id)

    def find_response(self, response_id: str) -> str | None:
        if self.failure is not None:
            raise self.failure
        found = [
            c.id for c in self.calls.values() if c.closed and c.closed.provider_response_id == response_id
        ]
        return max(found, default=None)

    def index_pending(self, limit: int = 1000) -> int:
        if self.index_failure is not None:
            raise self.index_failure
        for call_id in sorted(self.unindexed)[:limit]:
            self.unindexed.discard(call_id)
        return len(self.unindexed)

    def flush(self) -> None:
        if self.failure is not None:
            raise self.failure
        self.flushes += 1


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def opened() -> Callable[..., Opened]:
    return make_opened


@pytest.fixture
def closed() -> Callable[..., Closed]:
    return make_closed


@pytest.fixture
def feedback() -> Callable[..., FeedbackGiven]:
    return make_feedback
