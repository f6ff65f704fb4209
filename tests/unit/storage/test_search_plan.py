"""No query walks a whole file where an index could lead: asked of SQLite itself."""

from pathlib import Path

import pytest

from trimtab.storage import CallQuery
from trimtab.storage.sqlite.connection import connect
from trimtab.storage.sqlite.schema import DAY_FORMATS, INDEXED, create_day_file
from trimtab.storage.sqlite.search import Search
from trimtab.types import new_id

DAY = 20_718
NOON_US = 1_790_078_400_000_000


def plan(path: Path, query: CallQuery) -> str:
    connection = connect(path, formats=DAY_FORMATS, read_only=True)
    try:
        statement = Search(query).statement(DAY, 0, "c.id")
        rows = connection.execute(f"EXPLAIN QUERY PLAN {statement.sql}", statement.values).fetchall()
        return "; ".join(str(row[3]) for row in rows)
    finally:
        connection.close()


@pytest.fixture(scope="module")
def day_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plans") / "calls-20260922.db"
    create_day_file(path)
    return path


@pytest.mark.parametrize("column", list(INDEXED))
@pytest.mark.parametrize(
    "more", [{}, {"before": new_id(NOON_US // 1000)}, {"since_us": NOON_US - 77, "until_us": NOON_US + 77}]
)
def test_each_filter_walks_its_index_in_order(day_file: Path, column: str, more: dict) -> None:
    found = plan(day_file, CallQuery(**{column: "error" if column == "state" else "other"}, **more))
    assert f"USING INDEX calls_{column}" in found
    assert ("place<" in found or "rowid<" in found) == bool(more)
    assert "TEMP B-TREE" not in found


@pytest.mark.parametrize(
    "query",
    [
        CallQuery(),
        CallQuery(project="default", state="ok", purpose="live"),
        CallQuery(model="openai/"),
        CallQuery(model="openai/", before=new_id(NOON_US // 1000)),
        CallQuery(tag="vip"),
        CallQuery(tag="vip", user="ann", since_us=NOON_US),
        CallQuery(text="word"),
        CallQuery(text="word 東", tag="vip", user="ann", before=new_id(NOON_US // 1000), until_us=NOON_US),
    ],
)
def test_no_query_sorts(day_file: Path, query: CallQuery) -> None:
    assert "TEMP B-TREE" not in plan(day_file, query)


def test_filters_together_are_led_by_the_most_telling(day_file: Path) -> None:
    query = CallQuery(project="acme", model="openai/gpt-4o", user="ann", session="s1", state="ok")
    assert "calls_session" in plan(day_file, query)


def test_a_quote_in_a_value_is_a_value(day_file: Path) -> None:
    hostile = "' OR 1=1; DROP TABLE calls; --"
    values = {
        name: hostile
        for name in ("project", "model", "route", "user", "session", "tag", "error_code", "text")
    }
    statement = Search(CallQuery(**values)).statement(DAY, 0, "c.id")
    assert "DROP" not in statement.sql
    assert plan(day_file, CallQuery(**values))


def test_bounds_beyond_every_calendar_are_harmless(day_file: Path) -> None:
    for bound in (-(1 << 62), -1, 1, 1 << 62):
        query = CallQuery(since_us=bound, until_us=bound)
        assert plan(day_file, query)
        first, last = Search(query).days()
        assert first <= last + 1
