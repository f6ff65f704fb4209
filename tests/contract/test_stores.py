"""Our own backends keep the promises of the storage ports."""

from functools import partial
from pathlib import Path

from trimtab.storage.files import open_snapshot_store
from trimtab.storage.sqlite import open_app_store, open_call_store
from trimtab.testing.stores import (
    check_app_store,
    check_back_up,
    check_call_store,
    check_snapshot_store,
    check_span_store,
)


def test_sqlite_call_store(tmp_path: Path) -> None:
    check_call_store(partial(open_call_store, tmp_path / "calls"))


def test_sqlite_call_store_rolling_at_once(tmp_path: Path) -> None:
    check_call_store(partial(open_call_store, tmp_path / "calls", roll_bytes=1))


def test_sqlite_span_store(tmp_path: Path) -> None:
    check_span_store(partial(open_call_store, tmp_path / "calls"))


def test_sqlite_span_store_rolling_at_once(tmp_path: Path) -> None:
    check_span_store(partial(open_call_store, tmp_path / "calls", roll_bytes=1))


def test_sqlite_app_store(tmp_path: Path) -> None:
    check_app_store(partial(open_app_store, tmp_path / "app.db"))


def test_sqlite_app_store_backs_up(tmp_path: Path) -> None:
    check_back_up(open_app_store, str(tmp_path))


def test_snapshot_store(tmp_path: Path) -> None:
    check_snapshot_store(partial(open_snapshot_store, tmp_path / "snapshot"))
