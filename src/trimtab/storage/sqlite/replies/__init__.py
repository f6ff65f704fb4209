"""Kept replies: `cache.db`, one SQLite file that all workers of a machine read and write.

Owns the file and its bound. Promises: a look-up is one indexed read; a write never waits for the disk on the
caller's thread; what is expired is never returned; a damaged file is replaced, since all in it can be made again.
Never knows what a reply is: keys and values are bytes.
Entry: `SqliteReplyCache`.
"""

from .cache import SqliteReplyCache, clear, figures

__all__ = ["SqliteReplyCache", "clear", "figures"]
