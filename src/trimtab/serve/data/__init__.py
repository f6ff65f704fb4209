"""The data folder as a whole: backups of it while it is in use, and their restoring; upgrades of its files."""

from .backup import BACKUP_FORMAT, BackupDone, back_up
from .erasing import beside_log_and_store, drop_replies
from .known import MANIFEST, known_backups
from .prices import history as price_history
from .prices import install_table as install_prices
from .prices import layered, note_in_force
from .restoring import restore
from .upgrade import migrate, migration_steps

__all__ = [
    "BACKUP_FORMAT",
    "MANIFEST",
    "BackupDone",
    "back_up",
    "beside_log_and_store",
    "drop_replies",
    "install_prices",
    "known_backups",
    "layered",
    "migrate",
    "migration_steps",
    "note_in_force",
    "price_history",
    "restore",
]
