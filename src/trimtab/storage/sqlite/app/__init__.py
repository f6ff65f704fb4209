"""`app.db`: what is configured at run time, and by whom, synced on every commit."""

from .store import SqliteAppStore

__all__ = ["SqliteAppStore"]
