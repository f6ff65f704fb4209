"""The configuration as the control process reads it: what changed, what takes a restart, when to read it again.

Promises: what a reading came to can be compared with the one before it, after a restart too, and no secret is in it;
every setting that a reload cannot bring is named.
Never publishes anything: that is the room's.
Entry: `Readings(folder, hide).take(config)`; `watch`.
"""

from .history import history
from .readings import Reading, Readings
from .watching import watch

__all__ = ["Reading", "Readings", "history", "watch"]
