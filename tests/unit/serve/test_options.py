"""Small decisions of the composition root."""

import asyncio
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trimtab.config import Config, Own
from trimtab.serve import UpOptions
from trimtab.serve.child.server import run_async
from trimtab.serve.folder import Layout, clean_run
from trimtab.serve.options import is_loopback, url_of
from trimtab.serve.platform import is_alive, raise_open_files, refuse_unsupported
from trimtab.serve.runfile import Processes, make_token
from trimtab.serve.spawn import exit_text
from trimtab.serve.start import configure, model_wish, sign_in_url, summary
from trimtab.types import ConfigError, Policy, ProviderSpec, Release


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.2", False),
        ("example.com", False),
        ("localhost.example.com", False),
    ],
)
def test_only_loopback_addresses_count_as_such(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("localhost", "http://localhost:80"),
    ],
)
def test_a_url_can_be_called_from_here(host: str, url: str) -> None:
    assert url_of(host, 80) == url


def test_options_stand_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "trimtab.toml"
    file.write_text("[gateway]\nport = 9000\nworkers = 3\n[own]\nmodel = 'm'\nurl = 'http://h/v1'\n")
    config = configure(
        UpOptions(
            config=file, port=9100, data=tmp_path / "d", console_port=9101, model_path=tmp_path / "x.gguf"
        )
    )
    assert (config.gateway.port, config.gateway.workers, config.console.port) == (9100, 3, 9101)
    assert config.data_dir == tmp_path / "d"
    assert (config.own.model_path, config.own.url) == (str(tmp_path / "x.gguf"), "")


def test_gateway_and_console_need_two_ports(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot share port 8401"):
        configure(UpOptions(port=8401, data=tmp_path))


def of(tmp_path: Path, **fields: object) -> Config:
    return Config(source=None, data_dir=tmp_path, **fields)  # type: ignore[arg-type]


def test_the_own_model_is_started_at_once_only_where_it_is_needed(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.make()
    hosted = (ProviderSpec(name="openai"),)

    def wish(**fields: object) -> bool | None:
        wants = model_wish(of(tmp_path, **fields), layout)
        return None if wants is None else wants()

    assert wish() is True
    assert wish(own=Own(enabled=False)) is None
    assert wish(own=Own(url="http://h/v1", model="m")) is None
    assert wish(providers=hosted) is False
    release = Release(model="openai/m", fallbacks=("own/smollm2-135m-instruct",))
    assert wish(providers=hosted, releases={release.id(): release}) is True
    from trimtab.providers.own import want_model

    want_model(layout.run)
    assert wish(providers=hosted) is True


def test_the_summary_says_what_answers_and_who_may_call(tmp_path: Path) -> None:
    text = summary(of(tmp_path), "http://127.0.0.1:8400", "http://127.0.0.1:8401")
    assert "own/smollm2-135m-instruct, whatever model is asked for" in text
    assert "open to programs on this machine" in text
    assert str(tmp_path) in text
    closed = of(
        tmp_path,
        providers=(ProviderSpec(name="openai"),),
        policy=Policy(open_access=False),
        own=Own(enabled=False),
    )
    text = summary(closed, "http://127.0.0.1:8400", "http://127.0.0.1:8401")
    assert "openai/..." in text
    assert "own/" not in text
    assert "trimtab keys create" in text


def test_windows_is_refused_with_the_way_out() -> None:
    refuse_unsupported("linux")
    refuse_unsupported("darwin")
    with pytest.raises(ConfigError, match="WSL 2"):
        refuse_unsupported("win32")


def test_ends_are_said_in_words() -> None:
    assert exit_text(-9) == "killed by SIGKILL"
    assert exit_text(78) == "exit status 78"
    assert exit_text(-200) == "killed by signal 200"


def test_open_files_are_as_many_as_allowed() -> None:
    assert raise_open_files() == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_a_process_that_nobody_buried_counts_as_dead() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read()
    # It has closed its files and ends; its status has not been asked for, so it stays listed.
    deadline = time.monotonic() + 5
    while is_alive(process.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_alive(process.pid)
    process.wait()
    process.stdout.close()


def test_living_workers_are_those_that_run() -> None:
    assert list(Processes(supervisor=1, gateway="", console="").workers()) == []


def test_workers_run_on_uvloop() -> None:
    async def loop_name() -> int:
        return int("uvloop" in type(asyncio.get_running_loop()).__module__)

    assert run_async(loop_name) == 1


@pytest.mark.parametrize("on_terminal", [True, False])
def test_the_token_is_shown_on_a_terminal_and_in_no_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_terminal: bool
) -> None:
    layout = Layout(tmp_path)
    layout.make()
    token = make_token(layout.run)
    assert make_token(layout.run) == token  # the control process may die and ask again
    monkeypatch.setattr("sys.stderr.isatty", lambda: on_terminal)
    url = sign_in_url(layout, "http://127.0.0.1:8401")
    if on_terminal:
        assert url == f"http://127.0.0.1:8401/sign-in#token={token}"
    else:
        assert token not in url
        assert str(layout.run / "admin.token") in url
    clean_run(layout)
    assert make_token(layout.run) != token
