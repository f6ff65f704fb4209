"""What an erasure means beside log and store: kept replies, and what limits and budgets know of a user."""

from typing import Final

from trimtab.ledger import Beside, ErasureRequest
from trimtab.limits import RuleBook, forget
from trimtab.serve.folder import Layout
from trimtab.storage import CallQuery, CallStore
from trimtab.types import SystemClock

from .spending import rule_book

_CLOCK: Final = SystemClock()


def beside_log_and_store(layout: Layout) -> Beside:
    """Return what a data folder's recorder erases beside its log and store."""

    def erase(request: ErasureRequest, calls: CallStore) -> None:
        # Kept replies say nothing of whose words they hold: all of them go, and are made again as they are asked for.
        drop_replies(layout)
        what = request.what
        if request.whole_project:
            _forget(layout, "project", what.project)
        elif what.user and not calls.find(CallQuery(user=what.user, limit=1), payload=False):
            _forget(layout, "user", what.user)

    return erase


def drop_replies(layout: Layout) -> None:
    """Empty the cache of replies once calls have grown too old: it would keep their words for longer.

    Raises:
        StorageError: the cache cannot be written.
    """
    from trimtab.storage.sqlite import clear_replies

    clear_replies(layout.cache, _CLOCK.now_us())


def _forget(layout: Layout, per: str, subject: str) -> None:
    book = _rules(layout)
    others = [rule for rule in (*book.limits, *book.budgets) if rule.spec.per != per]
    forget(
        layout.limits,
        subject,
        spare={rule.ident for rule in others},
        names={rule.name for rule in others},
        clock=_CLOCK,
    )


def _rules(layout: Layout) -> RuleBook:
    """Return the rules in force."""
    from trimtab.storage.files import open_snapshot_store

    snapshots = open_snapshot_store(layout.snapshot)
    return rule_book(snapshots.load()) if snapshots.generation() else RuleBook((), ())
