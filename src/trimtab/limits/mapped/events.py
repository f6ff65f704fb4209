"""The list of events beside the mapped file: one JSON object a line, appended, for whoever tells people of them."""

import os
from pathlib import Path
from typing import Final

import msgspec

from trimtab.limits.rules import BudgetClaim
from trimtab.types import NUSD_PER_USD

_LONGEST: Final = 4 * 1024 * 1024
"""Bytes at which the list is moved to `events.1.jsonl`, in place of the one before."""

FILES: Final = ("events.1.jsonl", "events.jsonl")
"""Of the list, the older one first."""

_encode = msgspec.json.Encoder().encode


class Events:
    """Appends events, one `write` each, inside the critical section: rare, and never twice for one crossing."""

    __slots__ = ("_path",)

    def __init__(self, path: Path) -> None:
        self._path = path

    def reached(self, claim: BudgetClaim, share: float, spent_nusd: int, now_us: int) -> None:
        """Note that a budget has reached a share of its amount. A disk that is full loses the line, no call."""
        rule = claim.rule
        line = _encode(
            {
                "event": "budget_reached",
                "at_us": now_us,
                "budget": rule.name,
                "subject": claim.subject,
                "share": share,
                "spent_usd": spent_nusd / NUSD_PER_USD,
                "amount_usd": rule.amount / NUSD_PER_USD,
                "period": rule.period,
                "hard": rule.hard,
            }
        )
        try:
            if self._path.exists() and self._path.stat().st_size > _LONGEST:
                self._path.replace(self._path.with_suffix(".1.jsonl"))
            fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.write(fd, line + b"\n")
            finally:
                os.close(fd)
        except OSError:
            return  # the counter `budget_alerts` says so still


def read_events(folder: Path) -> list[dict[str, object]]:
    """Return the events in a limits folder, oldest first; a line that is cut short is left out."""
    found: list[dict[str, object]] = []
    for name in FILES:
        try:
            lines = (folder / name).read_bytes().splitlines()
        except FileNotFoundError:
            continue
        for line in lines:
            try:
                found.append(msgspec.json.decode(line, type=dict[str, object]))
            except msgspec.DecodeError:
                continue
    return found
