"""The backend of one machine: a memory-mapped file that all processes of a data folder share.

Owns the file `limits/state` (its layout stands in `layout`), its locks, and the list of events beside it.
Promises: one critical section a call and side, some microseconds long; a process that dies anywhere in it leaves a
state that counts too much rather than too little, and that the next one mends.
Never blocks on anything but another process's critical section.
Entry: `MappedLimiter`.
"""

from .forgetting import forget
from .limiter import MappedLimiter

__all__ = ["MappedLimiter", "forget"]
