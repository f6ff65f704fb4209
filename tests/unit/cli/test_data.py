"""`trimtab backup`, `restore`, `migrate`."""

import json
import lzma
from pathlib import Path

from trimtab.serve import open_local

FORMAT_1 = Path(__file__).parents[1] / "storage" / "data" / "format-1.db.xz"


def test_backup_and_restore(run, stored, make_call, place):
    stored([make_call(n) for n in range(3)])
    done = run("backup", "copy")
    assert (done.code, done.out.split(":")[0]) == (0, str(place / "copy"))
    assert "until you delete it" in done.err
    again = run("backup", "copy")
    assert again.code == 2
    assert "is there already" in again.err
    done = run("restore", "copy", "--data", "new", "--json")
    assert done.code == 0
    assert json.loads(done.out)["path"] == str(place / "new")
    with open_local(place / "new") as local:
        assert local.calls.count() == 3
    again = run("restore", "copy", "--data", "new")
    assert again.code == 2
    assert "not empty" in again.err
    (place / "copy" / "manifest.json").write_text("{}")
    damaged = run("restore", "copy", "--data", "other")
    assert damaged.code == 3
    assert "damaged" in damaged.err


def test_a_backup_of_nothing_is_refused_and_makes_no_folder(run, place):
    done = run("backup", "copy", "--data", "none")
    assert done.code == 1
    assert "there is no data folder" in done.err
    assert not (place / "none").exists()


def test_migrate_says_what_it_does(run, stored, make_call, place):
    data = stored([make_call()])
    assert "of this version's format" in run("migrate").err
    day = data / "calls-20260922.db"
    day.write_bytes(lzma.decompress(FORMAT_1.read_bytes()))
    day.chmod(0o600)
    shown = run("calls")
    assert shown.code == 3
    assert "convert it by `trimtab migrate`" in shown.err
    told = run("migrate", "--dry-run")
    assert day.name in told.out
    assert "Nothing was changed" in told.err
    done = run("migrate", "--json")
    assert f"converting {day.name}: done" in done.err
    assert [(row["file"], row["backup"]) for row in json.loads(done.out)] == [(str(day), True)]
    assert json.loads(run("migrate", "--json").out) == []
    with open_local(data) as local:
        assert local.calls.count() == 152


def test_erase_where_nothing_runs(run, stored, make_call, place):
    data = stored(
        [make_call(n, user="quagga" if n % 2 else "ann", words=f"quagga{n % 2}") for n in range(10)]
    )
    run("backup", "copy")
    for arguments in ((), ("--project", "default", "--yes")):
        done = run("erase", *arguments)
        assert done.code == 2
        assert "say whose calls" in done.err
    done = run("erase", "--user", "quagga")
    assert done.code == 2
    assert "--yes" in done.err
    done = run("erase", "--user", "quagga", "--yes")
    assert (done.code, done.out) == (0, "5 calls erased, and 0 records of the log.\n")
    assert str(place / "copy") in done.err
    assert not [path for path in data.rglob("*") if path.is_file() and b"quagga1" in path.read_bytes()]
    done = run("erase", "--user", "quagga", "--yes", "--json")
    assert json.loads(done.out) == {"calls": 0, "log_records": 0, "backups": [str(place / "copy")]}
    assert run("erase", "--user", "x", "--yes", "--data", "none").code == 1
    assert not (place / "none").exists()


def test_erase_asks_what_runs(run, running, monkeypatch):
    asked = []

    def admin(_target, method, path, *, body, timeout_s):
        asked.append((method, path, body))
        return {"calls": 3, "log_records": 4, "backups": []}

    monkeypatch.setattr("trimtab.cli.data.erase.admin", admin)
    done = run("erase", "--user", "ann", "--project", "acme", "--yes")
    assert (done.code, done.out) == (0, "3 calls erased, and 4 records of the log.\n")
    assert asked == [("POST", "calls/erase", {"user": "ann", "project": "acme"})]
