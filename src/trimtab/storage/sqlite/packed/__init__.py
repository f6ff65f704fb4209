"""What makes a day file small: texts of few values as numbers, payloads in blocks, calls numbered one by one.

Owns the tables `name`, `payload`, `block`, `zone`, `words` and `pending` of a day file, in the caller's transaction.
Promises: what is dropped is dropped from blocks and names too; a number is never given twice in a file.
Never knows what a call's columns mean: numbers, texts and blobs only.
Entry: `Names`, `Payloads`, `WordIndex`; `zones` for finding the newest calls by their numbers.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .blocks import Payloads
    from .index import WordIndex
    from .names import Names

_PLACES = {"Names": ".names", "Payloads": ".blocks", "WordIndex": ".index"}

__all__ = ["Names", "Payloads", "WordIndex"]


def __getattr__(name: str) -> object:
    if name in _PLACES:
        return getattr(import_module(_PLACES[name], __name__), name)
    raise AttributeError(f"module 'trimtab.storage.sqlite.packed' has no attribute {name!r}")
