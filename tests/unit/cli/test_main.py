import json
import os
import signal
import subprocess
import sys

import pytest

import trimtab
from trimtab.cli.__main__ import exit_code_of, main
from trimtab.types import ConfigError, TrimtabError, all_errors
from trimtab.types.errors import NotFound


def test_version(run):
    ran = run("--version")
    assert (ran.code, ran.out, ran.err) == (0, f"{trimtab.__version__}\n", "")


def test_version_loads_nothing_else():
    code = "import sys; from trimtab.cli.__main__ import main; main(['--version']); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"cyclopts", "rich", "msgspec", "asyncio", "apsw", "http.client"} & set(loaded)


def test_a_listing_in_a_pipe_loads_neither_rich_nor_a_provider(place):
    code = "import sys; from trimtab.cli.__main__ import main; main(['calls', '--json']); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"rich", "rich.console", "pyreqwest", "httptools", "starlette", "numpy"} & set(loaded)


def test_help_names_every_command(run):
    ran = run("--help")
    assert ran.code == 0
    for name in ("up", "init", "call", "tail", "calls", "keys", "models", "config", "doctor", "completion"):
        line = next(line for line in ran.out.splitlines() if line.strip().startswith(f"{name}:"))
        assert len(line) > len(name) + 10


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["config", "chek"],
        ["calls", "--limit", "many"],
        ["calls", "--limit", "0"],
        ["audit", "--limit", "0"],
        ["alerts", "history", "--limit", "0"],
        ["alerts", "deliveries", "--limit", "1001"],
        ["settings", "history", "--limit", "-1"],
        ["config", "history", "--limit", "0"],
        ["calls", "--state", "odd"],
        ["calls", "--since", "yesterday"],
        ["calls", "show"],
        ["keys"],
        ["up", "--port", "70000"],
        ["keys", "create", "x", "--payload", "some"],
        ["call"],
        ["call", ""],
        ["call", "hi", "--temprature", "0"],
    ],
)
def test_wrong_usage_is_two_lines_and_exit_2(run, arguments):
    ran = run(*arguments)
    if arguments == ["keys"]:
        assert ran.code == 0  # a group alone shows its help
        return
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("error: ")
    assert len(ran.err.splitlines()) <= 2
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("arguments", "code", "exit_code"),
    [
        (["calls", "show", "odd", "--json"], "command_failed", 2),
        (["calls", "--json", "--limit", "0"], "wrong_usage", 2),
        (["keys", "list", "--json", "--data", "elsewhere"], "command_failed", 3),
        (["config", "show", "--json", "--config", "none.toml"], "config_invalid", 2),
    ],
)
def test_who_reads_json_gets_the_error_as_json(run, arguments, code, exit_code):
    ran = run(*arguments)
    said = json.loads(ran.out)["error"]
    assert (ran.code, said["code"], set(said)) == (exit_code, code, {"code", "message", "mend"})
    assert ran.err.startswith(f"error: {said['message']}\n")


def test_an_argument_is_no_option(run):
    assert run("call", "--", "--json").out == ""


@pytest.mark.parametrize(
    "arguments", [["call", "hi"], ["tail"], ["keys", "list"], ["keys", "create"], ["models"]]
)
def test_where_nothing_runs_the_error_says_how_to_start_it(run, arguments):
    ran = run(*arguments, "--data", "elsewhere")
    assert (ran.code, ran.out) == (3, "")
    assert "no Trimtab is running on" in ran.err
    assert "trimtab up --data elsewhere" in ran.err


def test_a_broken_configuration_is_exit_2_and_names_the_key(run, place):
    (place / "trimtab.toml").write_text("[gateway]\nprot = 1\n")
    ran = run("calls")
    assert ran.code == 2
    assert "gateway.prot" in ran.err


def test_every_error_has_an_exit_code_of_the_four():
    for kind in all_errors():
        error = kind.__new__(kind)
        assert exit_code_of(error) in (1, 2, 3), kind
    assert exit_code_of(NotFound("x")) == 1
    assert exit_code_of(ConfigError("x")) == 2
    assert exit_code_of(TrimtabError("x")) == 3


def test_ctrl_c_is_quiet(running, place):
    child = subprocess.Popen(
        [sys.executable, "-m", "trimtab.cli", "tail"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=place,
    )
    assert child.stderr is not None
    assert "Following" in child.stderr.readline()
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=10)
    assert (child.returncode, out, err) == (130, "", "")


def test_a_closed_pipe_is_quiet(stored, make_call, place):
    stored([make_call(n, words="x" * 2000) for n in range(200)])
    read, write = os.pipe()
    os.close(read)
    child = subprocess.run(
        [sys.executable, "-m", "trimtab.cli", "calls", "--json", "--full", "--limit", "200"],
        stdout=write, stderr=subprocess.PIPE, text=True, cwd=place, check=False,
    )  # fmt: skip
    os.close(write)
    assert (child.returncode, child.stderr) == (141, "")


def test_a_terminal_that_is_not_utf8_gets_escapes(stored, make_call, place):
    stored([make_call(words="日本語 é")])
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    child = subprocess.run(
        [sys.executable, "-m", "trimtab.cli", "calls"],
        capture_output=True,
        text=True,
        cwd=place,
        check=False,
        env=env,
    )
    assert child.returncode == 0, child.stderr
    assert "\\u65e5" in child.stdout


def test_an_error_of_ours_never_shows_a_traceback(monkeypatch, run):
    def fail(*_: object, **__: object) -> None:
        raise ConfigError("gateway.port = 0: expected at least 1")

    monkeypatch.setattr("trimtab.cli.config.load_config", fail)
    ran = run("config", "show")
    assert ran.err == "error: gateway.port = 0: expected at least 1\n"


def test_completion_scripts_name_the_commands(run, place):
    for shell in ("bash", "zsh", "fish"):
        ran = run("completion", shell, "--print")
        assert ran.code == 0
        assert "doctor" in ran.out
    ran = run("completion", "bash")
    assert ran.code == 0
    assert (place.parent / "home" / ".bashrc").exists()


def test_main_returns_for_the_installed_script():
    assert main(["--version"]) == 0
