"""The snapshot store on files: `snapshot.json` names the parts, `parts/<sha256>.json` hold them."""

import contextlib
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from trimtab.storage.atomic import write_atomically
from trimtab.types import SNAPSHOT_FORMAT, FormatTooNew, Snapshot, StorageError

_WORKER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_TRIES = 20
"""How often a load starts over when publications overtake it, which takes two of them within one load."""


class _Format(msgspec.Struct, frozen=True):
    """What every manifest has, in any format."""

    format: int


class _Manifest(msgspec.Struct, frozen=True, kw_only=True):
    format: int = SNAPSHOT_FORMAT
    generation: int
    parts: dict[str, str]
    """Section of the snapshot → SHA-256 of its part."""
    previous: tuple[str, ...] = ()
    """Hashes of the generation before, kept for whoever is still reading it."""


class FileSnapshotStore:
    """Snapshots in a folder. A `storage.SnapshotStore`; one process publishes, any number look."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "snapshot.json"
        self._parts = folder / "parts"
        self._reports = folder / "reports"
        self._seen: tuple[tuple[int, int, int], int] | None = None

    def publish(self, snapshot: Snapshot) -> None:
        """See `SnapshotStore.publish`. Writes only parts that changed; a few syncs."""
        current = self._manifest()
        if current is not None and snapshot.generation <= current.generation:
            raise StorageError(
                f"generation {snapshot.generation} cannot be published: {self._path} is at "
                f"{current.generation}; take the next one from AppStore.next_generation"
            )
        with _file_errors(self._path):
            for folder in (self._folder, self._parts):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            hashes = {name: self._put_part(value) for name, value in _sections(snapshot)}
            previous = tuple(sorted(set(current.parts.values()))) if current else ()
            manifest = _Manifest(generation=snapshot.generation, parts=hashes, previous=previous)
            write_atomically(self._path, msgspec.json.format(msgspec.json.encode(manifest), indent=1))
            self._remove_parts_but({*hashes.values(), *previous})

    def generation(self) -> int:
        """See `SnapshotStore.generation`. One stat; a read of under a kilobyte when the file was replaced."""
        with _file_errors(self._path):
            try:
                status = self._path.stat()
            except FileNotFoundError:
                return 0
        stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
        if self._seen is None or self._seen[0] != stamp:
            manifest = self._manifest()
            self._seen = (stamp, manifest.generation if manifest else 0)
        return self._seen[1]

    def load(self) -> Snapshot:
        """See `SnapshotStore.load`."""
        for _ in range(_TRIES):
            manifest = self._manifest()
            if manifest is None:
                raise StorageError(
                    f"{self._path} does not exist: nothing was published yet; start the control process"
                )
            try:
                return self._read(manifest)
            except StorageError:
                # Overtaken by two publications, the parts may be gone: start over with the newer manifest.
                newer = self._manifest()
                if newer is None or newer.generation == manifest.generation:
                    raise
        raise StorageError(f"{self._path} is replaced faster than it can be read; publish less often")

    def report(self, worker: str, generation: int) -> None:
        """See `SnapshotStore.report`."""
        with _file_errors(self._reports):
            self._reports.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(self._report_path(worker), b"%d" % generation, durable=False)

    def forget(self, worker: str) -> None:
        """See `SnapshotStore.forget`."""
        with _file_errors(self._reports):
            self._report_path(worker).unlink(missing_ok=True)

    def reports(self) -> Iterator[tuple[str, int]]:
        """See `SnapshotStore.reports`."""
        with _file_errors(self._reports):
            paths = sorted(self._reports.iterdir()) if self._reports.exists() else []
        for path in paths:
            if _WORKER.fullmatch(path.name):
                with _file_errors(path), contextlib.suppress(FileNotFoundError, ValueError):
                    yield path.name, int(path.read_bytes())

    def _report_path(self, worker: str) -> Path:
        if not _WORKER.fullmatch(worker):
            raise StorageError(
                f"worker name {worker!r} must be 1 to 100 of A-Z a-z 0-9 . _ -, no . _ - in front"
            )
        return self._reports / worker

    def _manifest(self) -> _Manifest | None:
        with _file_errors(self._path):
            try:
                raw = self._path.read_bytes()
            except FileNotFoundError:
                return None
        try:
            found = msgspec.json.decode(raw, type=_Format).format
            if found > SNAPSHOT_FORMAT:
                raise FormatTooNew(
                    f"{self._path} has format {found}, and this Trimtab knows formats up to "
                    f"{SNAPSHOT_FORMAT}: a newer Trimtab published it. Start the workers with that one too."
                )
            return msgspec.json.decode(raw, type=_Manifest)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _damaged(self._path, str(error)) from error

    def _read(self, manifest: _Manifest) -> Snapshot:
        fields: dict[str, Any] = {"generation": manifest.generation}
        kinds = {f.name: f.type for f in msgspec.structs.fields(Snapshot)}
        for name, digest in manifest.parts.items():
            path = self._part_path(digest)
            with _file_errors(path):
                raw = path.read_bytes()
            if hashlib.sha256(raw).hexdigest() != digest:
                raise _damaged(path, "its content does not fit its name")
            if name not in kinds:
                raise FormatTooNew(
                    f"{self._path} has a part {name!r} that this Trimtab does not know; upgrade it"
                )
            try:
                fields[name] = msgspec.json.decode(raw, type=kinds[name])
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise _damaged(path, str(error)) from error
        return Snapshot(**fields)

    def _put_part(self, value: object) -> str:
        raw = msgspec.json.encode(value, order="sorted")
        digest = hashlib.sha256(raw).hexdigest()
        path = self._part_path(digest)
        # A part that is there may be torn by an earlier power cut: read it before trusting its name.
        if not path.exists() or path.read_bytes() != raw:
            write_atomically(path, raw)
        return digest

    def _part_path(self, digest: str) -> Path:
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise _damaged(self._path, f"{digest!r} is no SHA-256")
        return self._parts / f"{digest}.json"

    def _remove_parts_but(self, kept: set[str]) -> None:
        for path in self._parts.iterdir():
            if path.stem not in kept:
                path.unlink(missing_ok=True)


def _sections(snapshot: Snapshot) -> Iterator[tuple[str, Any]]:
    for name in snapshot.__struct_fields__:
        if name != "generation":
            yield name, getattr(snapshot, name)


def _damaged(path: Path, why: str) -> StorageError:
    return StorageError(
        f"{path} is damaged: {why}. Publish again (restart the control process) to replace it."
    )


@contextlib.contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{path} could not be read or written: {error}; check folder, owner and disk"
        ) from error
