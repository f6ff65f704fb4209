"""The call store: a folder of day files, written by one process and read by any number."""

import contextlib
import itertools
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from trimtab.storage.days import (
    MS_PER_DAY,
    day_name,
    day_number,
    file_name,
    id_blob,
    id_ms,
    id_text,
    parse_file_name,
)
from trimtab.storage.ports import (
    BillQuery,
    BillRow,
    CallQuery,
    Cube,
    Erasure,
    RollupRow,
    SessionRow,
    SpendRow,
)
from trimtab.types import Call, FeedbackGiven, StorageError

from . import billing
from .connection import disk_bytes, storage_errors
from .dayfile import DayFile
from .erase import calls_of, feedback_of
from .lookups import LOOKED_AT, InSession, sessions_page
from .payload import PayloadCodec
from .rollups import Tally, Users, added, top_users
from .rows import with_feedback
from .schema import backup_of, create_day_file
from .search import Search

ROLL_BYTES = 1_600_000_000
"""A day file past this takes no new calls; with the words of its last ones it stays below 2 GB."""

_OPEN_FILES = 16
"""Files kept open; a query over more opens and closes the oldest ones as it goes (0.5 ms each)."""

_FOREVER = 1 << 62


class SqliteCallStore:
    """Calls in day files `calls-YYYYMMDD[-n].db`. A `storage.CallStore`; safe to share between threads."""

    def __init__(self, folder: Path, *, read_only: bool, roll_bytes: int = ROLL_BYTES) -> None:
        self._folder = folder
        self._read_only = read_only
        self._roll_bytes = roll_bytes
        self._codec = PayloadCodec()
        self._open: OrderedDict[tuple[int, int], DayFile] = OrderedDict()
        self._lock = threading.RLock()
        self._closed = False
        self._to_index = set(self._listing())

    # Writing

    def insert(self, calls: Sequence[Call]) -> int:
        """See `CallStore.insert`. About 40 µs of CPU a call in batches of 500; indexing is as much again."""
        with self._using(write=True):
            days: dict[int, dict[bytes, Call]] = {}
            for call in calls:
                blob = id_blob(call.id)
                batch = days.setdefault(id_ms(blob) // MS_PER_DAY, {})
                seen = batch.get(blob)
                if seen is None or (seen.closed is None and call.closed is not None):
                    batch[blob] = call
            return sum(self._insert_day(day, batch) for day, batch in sorted(days.items()))

    def _insert_day(self, day: int, batch: dict[bytes, Call]) -> int:
        parts = [part for found, part in self._listing() if found == day]
        last = parts[-1] if parts else 0
        if last and self._file(day, last).size < self._roll_bytes:
            parts.pop()
        else:
            last += 1
        for part in parts:
            batch = self._file(day, part).absorb(batch)
            self._to_index.add((day, part))
        if not batch:
            return 0
        path = self._folder / file_name(day, last)
        if not path.exists():
            create_day_file(path)
        self._to_index.add((day, last))
        return self._file(day, last).insert(batch)

    def insert_feedback(self, rows: Sequence[FeedbackGiven]) -> int:
        """See `CallStore.insert_feedback`."""
        with self._using(write=True):
            places: dict[tuple[int, int], dict[str, FeedbackGiven]] = {}
            for given in rows:
                at = self._feedback_file(given)
                if at is not None:
                    places.setdefault(at, {}).setdefault(given.id, given)
            return sum(self._file(*at).insert_feedback(list(given.values())) for at, given in places.items())

    def _feedback_file(self, given: FeedbackGiven) -> tuple[int, int] | None:
        """Return the file of the call that is judged, or the day's last; None: there is nothing to store."""
        blob = id_blob(given.call_id)
        day = id_ms(blob) // MS_PER_DAY
        files = [at for at in self._listing() if at[0] == day]
        if any(self._file(*at).has_feedback(given.id) for at in files):
            return None
        if not files:
            # Such a call may be open still. Any other is gone, or never was: its day must not get a file.
            if given.at_us // 1000 // MS_PER_DAY - day not in (0, 1):
                return None
            create_day_file(self._folder / file_name(day, 1))
            return day, 1
        return next((at for at in files if self._file(*at).has_call(blob)), files[-1])

    def index_pending(self, limit: int = 1000) -> int:
        """See `CallStore.index_pending`. One transaction a file."""
        with self._using(write=True):
            existing = set(self._listing())
            waiting = 0
            for at in sorted(self._to_index):
                left = 0
                if at in existing:
                    file = self._file(*at)
                    limit -= file.index_pending(limit) if limit > 0 else 0
                    left = file.waiting()
                if not left:
                    self._to_index.discard(at)
                waiting += left
            return waiting

    def flush(self) -> None:
        """See `CallStore.flush`."""
        with self._using(write=True):
            for file in self._open.values():
                file.flush()

    def drop_before(self, day: str) -> list[str]:
        """See `CallStore.drop_before`."""
        with self._using(write=True):
            first_kept = day_number(day)
            removed = []
            for at in self._listing():
                if at[0] < first_kept:
                    self._drop(at)
                    removed.append(file_name(*at))
            return removed

    def _drop(self, at: tuple[int, int]) -> None:
        file = self._open.pop(at, None)
        if file is not None:
            file.close()
        path = self._folder / file_name(*at)
        with storage_errors(path):
            for leftover in (path, Path(f"{path}-wal"), Path(f"{path}-shm"), backup_of(path)):
                leftover.unlink(missing_ok=True)

    def erase(self, what: Erasure) -> list[str]:
        """See `CallStore.erase`. About 60 µs a call, and a rewrite of the word index of each file touched."""
        if not (what.user or what.session):
            raise ValueError(f"{what!r} names neither a user nor a session; erase_project erases projects")
        return [id_text(blob) for blob in self._erase(what)]

    def erase_project(self, project: str) -> int:
        """See `CallStore.erase_project`."""
        return sum(1 for _ in self._erase(Erasure(project=project)))

    def expire(self, before: Mapping[str, str]) -> int:
        """See `CallStore.expire`."""
        bounds = {project: day_number(day) for project, day in before.items()}
        with self._using(write=True):
            return sum(
                len(self._erase_in(day, [Erasure(project=name) for name, end in bounds.items() if day < end]))
                for day in self._days()
            )

    def _erase(self, what: Erasure) -> Iterator[bytes]:
        with self._using(write=True):
            for day in self._days():
                yield from self._erase_in(day, [what])

    def _erase_in(self, day: int, whats: list[Erasure]) -> list[bytes]:
        """Erase in the files of one day; return the ids of the calls that are gone."""
        gone: list[bytes] = []
        if not whats:
            return gone
        for file in self._files(day, day):
            for what in whats:
                gone += file.erase(calls_of(what))
        for file in self._files(day, day):
            # Feedback may stand beside its call, or where its call was awaited.
            for what in whats:
                file.erase_feedback(gone, feedback_of(what))
            file.scrub()
        return gone

    def _days(self) -> list[int]:
        return sorted({day for day, _ in self._listing()})

    # Reading

    def get(self, call_id: str) -> Call | None:
        """See `CallStore.get`. One lookup by index a file of that day; an id of another form is not found."""
        try:
            blob = id_blob(call_id)
        except ValueError:
            return None
        day = id_ms(blob) // MS_PER_DAY
        with self._using():
            call = next((call for file in self._files(day, day) if (call := file.get(blob))), None)
            return None if call is None else self._with_feedback([call])[0]

    def find(self, query: CallQuery, *, payload: bool = False) -> list[Call]:
        """See `CallStore.find`."""
        search = Search(query)
        calls: list[Call] = []
        if search.hopeless:
            return calls
        first, last = search.days()
        with self._using():
            for day in sorted({day for day, _ in self._listing() if first <= day <= last}, reverse=True):
                room = query.limit - len(calls)
                files = self._files(day, day)
                found = [call for file in files for call in file.find(search, room, payload=payload)]
                found.sort(key=lambda call: call.id, reverse=True)
                calls.extend(found[:room])
                if len(calls) >= query.limit:
                    break
            return self._with_feedback(calls)

    def _with_feedback(self, calls: list[Call]) -> list[Call]:
        by_day: dict[int, list[bytes]] = {}
        for call in calls:
            blob = id_blob(call.id)
            by_day.setdefault(id_ms(blob) // MS_PER_DAY, []).append(blob)
        given: dict[str, list[FeedbackGiven]] = {}
        for day, blobs in by_day.items():
            for file in self._files(day, day):
                for call_id, found in file.feedback(blobs).items():
                    given.setdefault(call_id, []).extend(found)
        return with_feedback(calls, given)

    def find_response(self, response_id: str) -> str | None:
        """See `CallStore.find_response`. One lookup by index a file, newest first."""
        if not response_id:
            return None
        with self._using():
            for day in reversed(self._days()):
                found = [file.find_response(response_id) for file in self._files(day, day)]
                newest = max((blob for blob in found if blob is not None), default=None)
                if newest is not None:
                    return id_text(newest)
        return None

    def sessions(self, *, project: str = "", before: str = "", limit: int = 50) -> list[SessionRow]:
        """See `CallStore.sessions`. About 15 ms for each 5,000 calls."""
        try:
            blob = id_blob(before) if before else None
        except ValueError as error:
            raise StorageError(str(error)) from error
        with self._using():

            def stood_before(row: SessionRow) -> bool:
                """A session with a newer call stood on an earlier page."""
                if blob is None:
                    return False
                files = self._files(id_ms(blob) // MS_PER_DAY, _FOREVER)
                return any(file.session_goes_on(row, blob) for file in files)

            return sessions_page(lambda before: self._in_session(project, before), stood_before, blob, limit)

    def _in_session(self, project: str, before: bytes | None) -> list[InSession]:
        """Return the newest calls that have a session, newest first, at most `LOOKED_AT`."""
        last = id_ms(before) // MS_PER_DAY if before else _FOREVER
        calls: list[InSession] = []
        for day in sorted({day for day, _ in self._listing() if day <= last}, reverse=True):
            of_day = [c for file in self._files(day, day) for c in file.newest_in_session(project, before)]
            calls.extend(sorted(of_day, reverse=True)[: LOOKED_AT - len(calls)])
            if len(calls) >= LOOKED_AT:
                break
        return calls

    def disk_bytes(self) -> dict[str, int]:
        """See `CallStore.disk_bytes`. Looks at the folder's entries only."""
        sizes: dict[str, int] = {}
        with self._using():
            for day, part in self._listing():
                size = disk_bytes(self._folder / file_name(day, part))
                sizes[day_name(day)] = sizes.get(day_name(day), 0) + size
        return sizes

    def count(self) -> int:
        """See `CallStore.count`. Walks the smallest index of each file."""
        with self._using():
            return sum(file.count() for file in self._files(0, _FOREVER))

    def rollup(self, cube: Cube, since_us: int = 0, until_us: int = 0) -> list[RollupRow]:
        """See `CallStore.rollup`. 1.5 µs a row."""
        until_us = until_us or _FOREVER
        found: list[RollupRow] = []
        with self._using():
            for _, files in itertools.groupby(self._files_of(since_us, until_us), key=lambda file: file.day):
                first, *more = [file.rollup(cube, since_us, until_us) for file in files]
                found += first if not more else added(itertools.chain(first, *more))
        return found

    def top_users(self, since_us: int, until_us: int, project: str, most: int) -> list[RollupRow]:
        """See `CallStore.top_users`. 0.25 µs for each user of each day."""
        users = Users(since_us, until_us or _FOREVER, project)
        with self._using():
            return top_users(lambda how: [file.read(how) for file in self._files_of(*users[:2])], users, most)

    def recount(self, cube: Cube, since_us: int = 0, until_us: int = 0) -> list[RollupRow]:
        """See `CallStore.recount`."""
        tally, until_us = Tally(), until_us or _FOREVER
        with self._using():
            for file in self._files_of(since_us, until_us):
                file.recount(tally, cube)
        return list(tally.rows(since_us, until_us))

    def bill(self, query: BillQuery) -> list[BillRow]:
        """See `CallStore.bill`. About two seconds a million calls."""
        with self._using():
            how = billing.bill(query)
            return billing.together(file.read(how) for file in self._files(*billing.days(query)))

    def spend(self, since_us: int = 0, until_us: int = 0) -> list[SpendRow]:
        """See `CallStore.spend`. About a second a million calls."""
        with self._using():
            files = self._files(since_us // (MS_PER_DAY * 1000) - 1, _FOREVER)
            how = billing.spend(since_us, until_us or _FOREVER)
            return [row for file in files for row in file.read(how)]

    def _files_of(self, since_us: int, until_us: int) -> Iterator[DayFile]:
        us_per_day = MS_PER_DAY * 1000
        return self._files(since_us // us_per_day, until_us // us_per_day)

    def close(self) -> None:
        """See `CallStore.close`."""
        with self._lock:
            self._closed = True
            while self._open:
                self._open.popitem()[1].close()

    # Files

    def _listing(self) -> list[tuple[int, int]]:
        """Return (day, part) of all day files, in order; read anew each time: others add and drop files."""
        inodes: dict[tuple[int, int], int] = {}
        # A reader may come before the first writer, and finds no folder then.
        with storage_errors(self._folder), contextlib.suppress(FileNotFoundError):
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    at = parse_file_name(entry.name)
                    if at is not None:
                        inodes[at] = entry.inode()
        # A handle on a dropped file would keep its space, and hide a new file of that name.
        for at in [at for at, file in self._open.items() if inodes.get(at) != file.inode]:
            self._open.pop(at).close()
        return sorted(inodes)

    def _files(self, first: int, last: int) -> Iterator[DayFile]:
        """Yield the files of a range of days, in order; one that is dropped meanwhile is left out."""
        for day, part in self._listing():
            if first <= day <= last:
                try:
                    yield self._file(day, part)
                except StorageError:
                    if (self._folder / file_name(day, part)).exists():
                        raise

    def _file(self, day: int, part: int) -> DayFile:
        at = (day, part)
        file = self._open.get(at)
        if file is None:
            while len(self._open) >= _OPEN_FILES:
                _, oldest = self._open.popitem(last=False)
                if not self._read_only:
                    oldest.flush()
                oldest.close()
            path = self._folder / file_name(day, part)
            file = self._open[at] = DayFile(path, day, self._codec, read_only=self._read_only)
        self._open.move_to_end(at)
        return file

    @contextlib.contextmanager
    def _using(self, *, write: bool = False) -> Iterator[None]:
        with self._lock:
            if self._closed:
                raise StorageError(f"the call store in {self._folder} is closed; open it again")
            if write and self._read_only:
                raise StorageError(f"the store in {self._folder} is open to be read; the recorder writes it")
            yield
