"""The storage ports. What satisfies them, and passes `testing`'s conformance kits, is a backend."""

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol

import msgspec

from trimtab.types import (
    Call,
    CallState,
    FeedbackGiven,
    KeySpec,
    Project,
    Purpose,
    Release,
    RouteSpec,
    Snapshot,
)

Cube = Literal["hour_model", "hour_prompt", "day_user"]
"""The rollups kept: (hour, project, model), (hour, project, prompt, version), (day, project, user).

Calls without a prompt or without a user have no cell in the second or the third.
"""


class CallQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which calls to list; empty fields do not filter. Newest first; `before` is the last page's last id.

    A call stands at the time inside its id; `since_us` and `until_us` go by that, and within its
    millisecond by `opened_us`.
    """

    project: str = ""
    purpose: Purpose | None = None
    model: str = ""
    """Exact `provider/model`, or a `provider/` prefix ending in a slash."""
    provider: str = ""
    route: str = ""
    release: str = ""
    state: CallState | None = None
    error_code: str = ""
    key: str = ""
    user: str = ""
    session: str = ""
    tag: str = ""
    since_us: int = 0
    until_us: int = 0
    """Exclusive; 0 is no bound."""
    text: str = ""
    """Words that must all occur in the request or the answer; a phrase stands in double quotes."""
    before: str = ""
    limit: int = 50


class RollupRow(msgspec.Struct, frozen=True, kw_only=True):
    """One cell of a cube: sums over the calls of that key."""

    cube: Cube
    start_us: int
    """Start of the hour or day, UTC."""
    key: tuple[str, ...]
    """(project, model), (project, prompt, version) or (project, user)."""
    calls: int
    errors: int
    unfinished: int
    estimated: int
    """Calls whose usage is an estimate."""
    cost_nusd: int
    input_tokens: int
    output_tokens: int
    latency: bytes
    """A packed `stats.LogHistogram` of milliseconds."""


class CallStore(Protocol):
    """Calls, their words, feedback and rollups. One process writes (the recorder); any number read."""

    def insert(self, calls: Sequence[Call]) -> int:
        """Store calls and add to the rollups, in one transaction a file; return how many were new.

        Idempotent by id: a call that is already there changes nothing, except that an `unfinished` one gives
        way to its late `Closed`, with the rollups corrected. Which file a call goes to follows from its id's
        time. Only calls of purpose `live` count in the rollups.

        Raises:
            ValueError: an id is no UUIDv7; then nothing is stored.
            StorageError: a file cannot be written.
        """
        ...

    def insert_feedback(self, rows: Sequence[FeedbackGiven]) -> int:
        """Store feedback, beside its call; idempotent by id. Return how many were new.

        Feedback may come before its call is stored. Where the store has nothing of the call's day, and the
        call cannot be under way still (it began before the day that preceded the feedback, or after it), the
        feedback is left out.

        Raises:
            ValueError: a call id is no UUIDv7; then nothing is stored.
            StorageError: a file cannot be written.
        """
        ...

    def index_pending(self, limit: int = 1000) -> int:
        """Add up to `limit` stored, unindexed calls to the word index; return how many are still waiting."""
        ...

    def get(self, call_id: str) -> Call | None:
        """Return one call with payload and feedback, or None."""
        ...

    def find(self, query: CallQuery, *, payload: bool = False) -> list[Call]:
        """Return matching calls with feedback, newest first; the words are empty unless `payload`.

        The words: request, response and variables. `text` finds what `index_pending` has indexed.

        Raises:
            CallerError: `text` has too many words.
            StorageError: `before` is no id, or a file cannot be read.
        """
        ...

    def count(self) -> int:
        """Return how many calls are stored."""
        ...

    def rollup(self, cube: Cube, since_us: int = 0, until_us: int = 0) -> list[RollupRow]:
        """Return a cube's rows that start within the bounds (0: none), in the order of time, then of keys."""
        ...

    def recount(self, cube: Cube, since_us: int = 0, until_us: int = 0) -> list[RollupRow]:
        """Compute the same rows from the calls themselves: what `rollup` must equal. Scans."""
        ...

    def flush(self) -> None:
        """Return once everything inserted would survive a power cut."""
        ...

    def drop_before(self, day: str) -> list[str]:
        """Delete whole days before `day` (YYYYMMDD); return the files removed."""
        ...

    def close(self) -> None:
        """Release files. Further calls are errors."""
        ...


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a route's history: which releases a channel pointed at, since when, by whom, why."""

    id: str
    at_us: int
    project: str
    route: str
    channel: str
    releases: tuple[tuple[str, int], ...]
    """(release id, weight)."""
    author: str
    reason: str


class AppStore(Protocol):
    """What is configured at run time. One process writes: control, or a command holding the data folder."""

    def projects(self) -> list[Project]:
        """Return all projects; `default` is always there."""
        ...

    def put_project(self, project: Project) -> None:
        """Create or replace a project."""
        ...

    def keys(self) -> list[KeySpec]:
        """Return all keys that are not revoked."""
        ...

    def add_key(self, key: KeySpec) -> None:
        """Store a key.

        Raises:
            StorageError: the id or hash is taken.
        """
        ...

    def revoke_key(self, key_id: str) -> bool:
        """Revoke a key; False where there is none of that id."""
        ...

    def put_release(self, release: Release) -> str:
        """Store a release under its content id (idempotent) and return the id."""
        ...

    def release(self, release_id: str) -> Release | None:
        """Return a release, or None."""
        ...

    def routes(self) -> list[RouteSpec]:
        """Return the routes as they point now."""
        ...

    def move(self, move: Move) -> None:
        """Append a move and make it current, in one transaction. A move to no release ends the channel.

        Raises:
            StorageError: a release is not stored, or the move's id is taken.
        """
        ...

    def moves(self, project: str, route: str) -> list[Move]:
        """Return a route's history, oldest first."""
        ...

    def setting(self, name: str) -> str | None:
        """Return a stored setting, or None."""
        ...

    def put_setting(self, name: str, value: str) -> None:
        """Store a setting."""
        ...

    def next_generation(self) -> int:
        """Return a number greater than every one before it, for good."""
        ...

    def close(self) -> None:
        """Release the file."""
        ...


class SnapshotStore(Protocol):
    """Where the control process publishes, and workers look."""

    def publish(self, snapshot: Snapshot) -> None:
        """Make a snapshot visible in one step; readers see the old one whole or the new one whole.

        Raises:
            StorageError: its generation is not greater than the published one's.
        """
        ...

    def generation(self) -> int:
        """Return the published generation, 0 where there is none. Cheap enough to poll every 50 ms."""
        ...

    def load(self) -> Snapshot:
        """Return the published snapshot.

        Raises:
            FormatTooNew: a newer Trimtab wrote it.
            StorageError: there is none, or it is damaged.
        """
        ...

    def report(self, worker: str, generation: int) -> None:
        """Note that a worker now obeys a generation."""
        ...

    def forget(self, worker: str) -> None:
        """Drop a worker's report: it is gone, and nobody should wait for it."""
        ...

    def reports(self) -> Iterator[tuple[str, int]]:
        """Yield (worker, generation) as last reported."""
        ...
