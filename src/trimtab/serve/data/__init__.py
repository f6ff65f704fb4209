"""The data folder as a whole: backups of it while it is in use, and their restoring; upgrades of its files."""

from .backup import BACKUP_FORMAT, BackupDone, back_up
from .known import MANIFEST, known_backups
from .restoring import restore
from .upgrade import migrate, migration_steps

__all__ = [
    "BACKUP_FORMAT",
    "MANIFEST",
    "BackupDone",
    "back_up",
    "known_backups",
    "migrate",
    "migration_steps",
    "restore",
]
