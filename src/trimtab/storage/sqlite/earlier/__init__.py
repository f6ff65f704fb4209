"""Day files of earlier formats: read once, and written anew in the present one.

Owns the conversion and the copies it leaves, `calls-YYYYMMDD[-n].db.bak-FORMAT`.
Promises: a file is replaced in one step, only after all its calls are in the new one; a crash leaves the old one.
Never runs beside another writer: the caller holds the data folder's lock.
Entry: `convert_days`; `earlier_files` tells what it would do.
"""

from .convert import Told, convert_days, earlier_files

__all__ = ["Told", "convert_days", "earlier_files"]
