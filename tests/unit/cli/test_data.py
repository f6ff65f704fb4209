"""`trimtab backup`, `restore`, `migrate`."""

import json

from trimtab.serve import open_local


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
    import apsw

    connection = apsw.Connection(str(data / "calls-20260921.db"))
    connection.execute("DELETE FROM meta WHERE name = 'complete'")
    connection.close()
    told = run("migrate", "--dry-run")
    assert "calls-20260921.db" in told.out
    assert "Nothing was changed" in told.err
    rows = json.loads(run("migrate", "--json").out)
    assert [(row["file"], row["backup"]) for row in rows] == [(str(data / "calls-20260921.db"), False)]
    assert json.loads(run("migrate", "--json").out) == []
