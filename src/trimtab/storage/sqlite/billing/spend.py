"""What callers spent, for budgets: by caller and by the model that was asked for. Scans."""

from collections.abc import Callable
from functools import partial

import apsw

from trimtab.storage.ports import SpendRow
from trimtab.storage.sqlite.packed.names import Names


def spend(since_us: int, until_us: int) -> Callable[[apsw.Connection, Names], list[SpendRow]]:
    """Return what reads from a file what calls that opened within the bounds cost."""
    return partial(_of_file, since_us, until_us)


def _of_file(since_us: int, until_us: int, connection: apsw.Connection, names: Names) -> list[SpendRow]:
    # A text has one number in a file or none, so what is held groups as the texts would.
    rows = connection.execute(
        "SELECT project, user, sum(cost_nusd), key, route, opened_model FROM calls "
        "WHERE opened_us >= ? AND opened_us < ? AND cost_nusd > 0 GROUP BY project, user, key, route, opened_model",
        (since_us, until_us),
    )
    found = []
    for project, user, cost_nusd, *held in rows:
        key, route, model = (names.value(one) or "" for one in held)
        row = SpendRow(project=project, key=key, user=user, route=route, model=model, cost_nusd=cost_nusd)
        found.append(row)
    return found
