"""The readings of the configuration, good and refused, out of the audit log, where they stand for good."""

from typing import Any

from trimtab.api import ConfigChange, ConfigReading
from trimtab.storage import AppStore
from trimtab.types import AuditEntry

ACTION = "config."


def history(app: AppStore, limit: int) -> list[ConfigReading]:
    """Return readings of the configuration, newest first."""
    return [_reading(entry) for entry in app.audit(action=ACTION, limit=limit)]


def _reading(entry: AuditEntry) -> ConfigReading:
    detail: dict[str, Any] = entry.detail
    return ConfigReading(
        at_us=entry.at_us,
        actor=entry.actor,
        cause="reload" if entry.action == "config.reload" else "start",
        taken=entry.outcome == "done",
        sha256=str(detail.get("sha256", "")),
        changes=tuple(
            ConfigChange(name=name, before=before, after=after)
            for name, before, after in detail.get("changes", ())
        ),
        left_out=int(detail.get("left_out", 0)),
        notes=tuple(detail.get("notes", ())),
        error=str(detail.get("error", "")),
    )
