"""The snapshot as files: parts named by their content, and one small manifest that says which are current.

Owns `snapshot.json`, `parts/` and `reports/` of one folder, all of mode 0600.
Promises: a publication is one rename, synced; readers get one generation whole; damage is named.
Never runs two publishers: the caller holds the lock on the data folder.
Entry: `open_snapshot_store`.
"""

from pathlib import Path

from .snapshot import FileSnapshotStore

__all__ = ["FileSnapshotStore", "open_snapshot_store"]


def open_snapshot_store(folder: str | Path) -> FileSnapshotStore:
    """Open the snapshot store of a folder; nothing is created before the first `publish` or `report`."""
    return FileSnapshotStore(Path(folder))
