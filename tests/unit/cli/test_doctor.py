import json
import os
import socket
from collections import namedtuple

import pytest


@pytest.fixture
def examine(run, place):
    def examine(config: str = "", code: int = 0, data: str = "data"):
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            two.bind(("127.0.0.1", 0))
            ports = one.getsockname()[1], two.getsockname()[1]
        text = f"[gateway]\nport = {ports[0]}\n[console]\nport = {ports[1]}\n[data]\ndir = '{data}'\n{config}"
        (place / "trimtab.toml").write_text(text)
        ran = run("doctor", "--json")
        assert ran.code == code, ran.out
        return {finding["name"]: finding for finding in json.loads(ran.out)}

    return examine


def test_a_sound_machine_has_no_fail_and_every_other_line_a_mend(examine):
    found = examine()
    assert {"platform", "wheels", "sqlite", "libgomp", "clock", "disk", "data folder", "gateway port"} <= set(
        found
    )
    for finding in found.values():
        assert bool(finding["mend"]) == (finding["status"] != "OK"), finding


def test_nothing_is_made(examine, place):
    examine()
    assert not (place / "data").exists()


def test_people_get_lines(run, place):
    ran = run("doctor")
    assert ran.err == ""
    assert any(line.startswith("OK") and "sqlite" in line for line in ran.out.splitlines())


def test_a_bad_configuration_fails(examine):
    found = examine("[gateway]", code=1)
    assert found["config"]["status"] == "FAIL"


def test_a_port_in_use_fails_and_names_the_option(run, place):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        (place / "trimtab.toml").write_text(
            f"[gateway]\nport = {taken.getsockname()[1]}\n[data]\ndir = 'data'"
        )
        ran = run("doctor", "--json")
    finding = next(f for f in json.loads(ran.out) if f["name"] == "gateway port")
    assert ran.code == 1
    assert finding["status"] == "FAIL"
    assert "--port" in finding["mend"]


@pytest.mark.parametrize(("free", "status"), [(100 << 20, "FAIL"), (2 << 30, "WARN"), (50 << 30, "OK")])
def test_little_disk(examine, monkeypatch, free, status):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("trimtab.cli.doctor.setup.shutil.disk_usage", lambda _: usage(1 << 40, 0, free))
    assert examine(code=1 if status == "FAIL" else 0)["disk"]["status"] == status


def test_a_folder_that_others_can_read(examine, place):
    (place / "data").mkdir(mode=0o755)
    (place / "data").chmod(0o755)
    finding = examine()["data folder"]
    assert finding["status"] == "WARN"
    assert "chmod 700" in finding["mend"]
    (place / "data").chmod(0o700)
    loose = place / "data" / "app.db"
    loose.write_text("x")
    loose.chmod(0o644)
    assert "app.db" in examine()["data folder"]["said"]
    loose.chmod(0o600)
    assert examine()["data folder"]["status"] == "OK"


def test_a_data_folder_that_is_a_file(examine, place):
    (place / "data").write_text("")
    assert examine(code=1)["data folder"]["status"] == "FAIL"


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_made(examine, place):
    closed = place / "closed"
    closed.mkdir(mode=0o500)
    assert examine(code=1, data="closed/data")["data folder"]["status"] == "FAIL"


def test_a_network_disk(examine, place, monkeypatch):
    (place / "data").mkdir(mode=0o700)
    monkeypatch.setattr("trimtab.cli.doctor.setup._file_system_of", lambda _: "nfs4")
    assert examine(code=1)["file system"]["status"] == "FAIL"


def test_a_clock_of_the_past(examine, monkeypatch):
    monkeypatch.setattr("trimtab.cli.doctor.machine.time.time_ns", lambda: 0)
    assert examine(code=1)["clock"]["status"] == "FAIL"


def test_an_old_sqlite(examine, monkeypatch):
    import apsw

    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.40.1")
    assert examine(code=1)["sqlite"]["status"] == "FAIL"


def test_a_wheel_that_does_not_load(examine, monkeypatch):
    monkeypatch.setattr(
        "trimtab.cli.doctor.machine.WHEELS", (("msgspec", "msgspec"), ("uvloop", "no.such.module"))
    )
    found = examine(code=1)
    assert "msgspec" in found["wheels"]["said"]
    assert "uvloop>=" in found["wheel uvloop"]["mend"]


def test_no_libgomp(examine, monkeypatch):
    def absent(_name):
        raise OSError("libgomp.so.1: cannot open shared object file")

    monkeypatch.setattr("trimtab.cli.doctor.machine.ctypes.CDLL", absent)
    monkeypatch.setattr("trimtab.cli.doctor.machine.importlib.util.find_spec", lambda _: None)
    found = examine()
    assert found["libgomp"]["status"] == "WARN"
    assert "libgomp1" in found["libgomp"]["mend"]
    assert found["own model runtime"]["mend"] == "pip install 'trimtab[local]'"


@pytest.mark.parametrize(
    ("config", "status"),
    [
        ("[own]\nenabled = false", "OK"),
        ("[own]\nmodel = 'x'\nurl = 'http://127.0.0.1:1/v1'", "OK"),
        ("[own]\nmodel_path = 'absent.gguf'", "FAIL"),
        ("[own]\nmodel_path = 'trimtab.toml'", "OK"),
    ],
)
def test_the_own_model(examine, config, status):
    assert examine(config, code=1 if status == "FAIL" else 0)["own model"]["status"] == status


def test_a_missing_variable_of_a_provider(examine):
    finding = examine("[providers.openai]\napi_key = '${OPENAI_API_KEY}'", code=1)["provider key"]
    assert "OPENAI_API_KEY" in finding["said"]


def test_ports_of_a_running_trimtab_are_no_fault(run, running):
    found = {f["name"]: f for f in json.loads(run("doctor", "--json").out)}
    assert "running" in found["gateway port"]["said"]


@pytest.mark.usefixtures("running")
def test_ports_are_those_of_the_running_instance(examine):
    found = examine()
    assert found["gateway port"]["said"] == "127.0.0.1:9, Trimtab is running"
    actual = found["console port"]["said"].partition(",")[0]
    host, _, port = actual.partition(":")
    with socket.create_connection((host, int(port)), timeout=5):
        pass  # the admin API itself listens there, and nothing does on the file's port
