"""The ports of calls and of the snapshot. What passes `testing`'s conformance kits for them is a backend."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from trimtab.types import Call, CallState, FeedbackGiven, Purpose, Snapshot

Cube = Literal["hour_model", "hour_prompt", "day_user", "minute_project", "sixhour_model"]
"""The rollups kept: (hour, project, model), (hour, project, prompt, version), (day, project, user),
(minute, project) and (six hours from midnight, project, model).

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


class RollupRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One cell of a cube: sums over the calls of that key."""

    cube: Cube
    start_us: int
    """Start of the minute, hour, six hours or day, UTC."""
    key: tuple[str, ...]
    """(project, model), (project, prompt, version), (project, user) or (project,)."""
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


class SpendRow(msgspec.Struct, frozen=True, kw_only=True):
    """What calls of one caller to one model cost together; of every purpose, unfinished ones at what was held."""

    project: str
    key: str
    user: str
    route: str
    model: str
    """`provider/model` that was asked for, as resolved."""
    cost_nusd: int


BillKey = Literal["day", "quarter", "project", "key", "user", "route", "model", "provider", "served"]
"""What a bill may be asked by. Days are UTC (`2026-11-25`); a quarter of an hour is its start in microseconds;
`served` is the model as the provider names it."""


class BillQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which calls to add up, by when they opened, and by what; empty fields do not filter."""

    by: tuple[BillKey, ...] = ("model",)
    since_us: int = 0
    until_us: int = 0
    """Exclusive; 0 is no bound."""
    project: str = ""
    provider: str = ""
    upstream: bool = False
    """Only what a provider was asked: answers from our own cache are left out."""


class BillRow(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over the calls of one key: of every purpose, for all of them are billed."""

    key: tuple[str, ...]
    """As `BillQuery.by` says."""
    calls: int = 0
    requests: int = 0
    """Calls that used something: what a provider counts."""
    unfinished: int = 0
    """Calls without an end: they may have been billed, and no figure here has them."""
    estimated: int = 0
    unpriced: int = 0
    """Calls that used something for which no price is known."""
    retried: int = 0
    """Attempts given up before the last one, that may have been billed too."""
    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    cost_nusd: int = 0
    reported: int = 0
    """Calls whose provider said what they cost."""
    reported_cost_nusd: int = 0
    computed_nusd: int = 0
    """What we computed for the calls that `reported` counts."""

    def plus(self, other: "BillRow") -> "BillRow":
        """Return both rows' sums under this one's key."""
        names = self.__struct_fields__[1:]
        return BillRow(key=self.key, **{name: getattr(self, name) + getattr(other, name) for name in names})


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One session of an application's user, as far as its latest calls tell."""

    session: str
    project: str
    user: str
    calls: int
    """Of those looked at: `sessions` says how many that are."""
    errors: int
    cost_nusd: int
    first_us: int
    last_us: int
    last_call: str
    """Id of the newest call."""


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """Whose calls to erase; all fields that are given must match, and one of user and session must be given."""

    project: str = ""
    user: str = ""
    session: str = ""


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

    def top_users(self, since_us: int, until_us: int, project: str, most: int) -> list[RollupRow]:
        """Return the rows of `day_user` of those users who made most calls between two starts of days.

        A cell may occur several times: its rows are to be added.

        Args:
            since_us: the first day's start.
            until_us: the day to stop before; 0: none.
            project: whose calls count; empty: all.
            most: how many users.
        """
        ...

    def recount(self, cube: Cube, since_us: int = 0, until_us: int = 0) -> list[RollupRow]:
        """Compute the same rows from the calls themselves: what `rollup` must equal. Scans."""
        ...

    def spend(self, since_us: int = 0, until_us: int = 0) -> list[SpendRow]:
        """Return what calls that opened within the bounds (0: none) cost, by caller and model. Scans.

        A key may occur several times: its rows are to be added.
        """
        ...

    def bill(self, query: BillQuery) -> list[BillRow]:
        """Return sums over calls, in the order of keys. Scans the calls of those days."""
        ...

    def flush(self) -> None:
        """Return once everything inserted would survive a power cut."""
        ...

    def drop_before(self, day: str) -> list[str]:
        """Delete whole days before `day` (YYYYMMDD); return the files removed."""
        ...

    def sessions(self, *, project: str = "", before: str = "", limit: int = 50) -> list[SessionRow]:
        """Return the sessions of the newest calls that have one, newest first; of each page none is on another.

        `before` is the `last_call` of the last page's last row.
        Looks at the newest 5,000 such calls before `before` (a call id), and where those have too few sessions at
        up to 15,000 more: cost is bounded, and the sums are over those looked at.
        """
        ...

    def find_response(self, response_id: str) -> str | None:
        """Return the newest call whose provider's response id this is, or None."""
        ...

    def erase(self, what: Erasure) -> list[str]:
        """Delete the calls of a user or session with payload, words, tags and feedback; return their ids.

        Feedback that the user gave on others' calls goes too.
        The rollups are corrected, freed pages are overwritten (secure_delete) and the write-ahead log emptied, so
        that no byte of it is left in the store's files.

        Raises:
            ValueError: neither user nor session is given.
        """
        ...

    def erase_project(self, project: str) -> int:
        """Delete all calls of a project, as `erase` does; return how many."""
        ...

    def expire(self, before: Mapping[str, str]) -> int:
        """Delete the calls of projects on days before one (project → YYYYMMDD), as `erase` does; return how many."""
        ...

    def disk_bytes(self) -> dict[str, int]:
        """Return the bytes on disk of each day (YYYYMMDD), all its files together."""
        ...

    def close(self) -> None:
        """Release files. Further calls are errors."""
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
