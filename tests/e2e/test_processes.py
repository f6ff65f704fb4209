"""The set of processes, started for real and broken on purpose."""

import http.client
import json
import lzma
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import apsw
import pytest

from rigs.house import free_port, is_gone, until
from trimtab.serve import Running, find_running
from trimtab.serve.runfile import Processes, read_processes

PATIENCE_S = 20.0
START = """
import fcntl, json, sys, termios
from pathlib import Path
if sys.stdin.isatty():
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from trimtab.serve import UpOptions, up
options = json.loads(sys.argv[1])
sys.exit(up(UpOptions(**{k: Path(v) if k in ("data", "config", "model_path") else v for k, v in options.items()})))
"""


class Upstream:
    """A provider that answers when it is told to."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.go_on = threading.Event()
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                upstream.asked.set()
                upstream.go_on.wait(PATIENCE_S)
                choice = {
                    "index": 0,
                    "message": {"role": "assistant", "content": "done"},
                    "finish_reason": "stop",
                }
                usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
                body = json.dumps(
                    {
                        "id": "c1",
                        "object": "chat.completion",
                        "model": "m",
                        "choices": [choice],
                        "usage": usage,
                    }
                ).encode()
                with suppress(OSError):
                    self.send_response(200)
                    self.send_header("content-type", "application/json")
                    self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def close(self) -> None:
        self.go_on.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class House:
    """One running Trimtab."""

    def __init__(
        self, data: Path, *, env: dict[str, str] | None = None, terminal: int | None = None, **options: Any
    ) -> None:
        self.data = data
        self.log_file = data.parent / f"log-{time.monotonic_ns()}"
        self.port = options.setdefault("port", free_port())
        self.console_port = options.setdefault("console_port", free_port())
        options["data"] = str(data)
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", START, json.dumps(options)],
                stderr=log,
                stdin=subprocess.DEVNULL if terminal is None else terminal,
                # With a terminal: a session of its own, whose controlling terminal that becomes.
                start_new_session=terminal is not None,
                cwd=data.parent,
                env={**os.environ, "OPENAI_API_KEY": "sk-none", **(env or {})},
            )

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def wait_until_up(self) -> "House":
        until(lambda: "Trimtab is up" in self.log or self.process.poll() is not None, "up")
        assert self.process.poll() is None, self.log
        return self

    def processes(self) -> Processes:
        found = read_processes(self.data / "run")
        assert found is not None
        return found

    def pid(self, name: str) -> int:
        return next(c.pid for c in self.processes().children if c.name == name)

    def running(self) -> Running:
        found = find_running(self.data)
        assert found is not None
        return found

    def request(
        self, method: str, path: str, body: Any = None, *, admin: bool = False, key: str = ""
    ) -> tuple[int, Any]:
        port = self.console_port if admin else self.port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        token = self.running().token if admin else key
        headers = {"content-type": "application/json"} | (
            {"authorization": f"Bearer {token}"} if token else {}
        )
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            reply = connection.getresponse()
            raw = reply.read()
            return reply.status, json.loads(raw) if raw[:1] in (b"{", b"[") else raw.decode()
        finally:
            connection.close()

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., House]]:
    """Start houses; end whatever is left of them, and insist that nothing is."""
    houses: list[House] = []

    def begin(**options: Any) -> House:
        house = House(options.pop("data", tmp_path / "data"), **options)
        houses.append(house)
        return house

    yield begin
    pids: set[int] = set()
    for house in houses:
        found = read_processes(house.data / "run")
        pids |= set(found.all()) if found else set()
        house.stop()
    for pid in pids:
        until(lambda pid=pid: is_gone(pid), f"process {pid} is gone")


@contextmanager
def upstream() -> Iterator[Upstream]:
    made = Upstream()
    try:
        yield made
    finally:
        made.close()


CHAT = {"model": "openai/m", "messages": [{"role": "user", "content": "x"}]}


def test_it_starts_answers_and_ends_in_order(start: Callable[..., House]) -> None:
    house = start(workers=2).wait_until_up()
    assert house.request("GET", "/healthz")[0] == 200
    status, health = house.request("GET", "/api/v1/health", admin=True)
    assert status == 200
    assert health["status"] == "ok"
    assert set(health["workers"]) == {"worker-1", "worker-2"}
    assert set(health["workers"].values()) == {health["generation"]}
    titles = {Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0") for pid in house.processes().all()}
    assert titles == {
        f"trimtab: {name}".encode() for name in ("supervisor", "recorder", "control", "worker 1", "worker 2")
    }
    for path in (house.data, *house.data.rglob("*")):
        mode = stat.S_IMODE(path.lstat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), f"{path} has mode {mode:o}"
    pids = house.processes().all()
    assert house.stop() == 0
    assert all(is_gone(pid) for pid in pids)
    assert find_running(house.data) is None
    assert list((house.data / "run").iterdir()) == []


def test_every_child_that_is_killed_is_started_again(start: Callable[..., House]) -> None:
    house = start().wait_until_up()
    for name in ("worker-1", "recorder", "control"):
        old = house.pid(name)
        os.kill(old, signal.SIGKILL)

        def is_back(name: str = name, old: int = old) -> bool:
            child = next(c for c in house.processes().children if c.name == name)
            return child.ready and child.pid not in (0, old)

        until(is_back, f"{name} is back")
        assert house.request("GET", "/healthz")[0] == 200
    until(
        lambda: house.request("GET", "/api/v1/health", admin=True)[1]["status"] == "ok", "all is well again"
    )
    restarts = {c.name: c.restarts for c in house.processes().children if c.name != "model"}
    assert restarts == {"worker-1": 1, "recorder": 1, "control": 1}
    assert house.stop() == 0


def test_no_connection_is_refused_while_the_only_worker_is_started_again(start: Callable[..., House]) -> None:
    house = start().wait_until_up()
    for _ in range(3):
        os.kill(house.pid("worker-1"), signal.SIGKILL)
        # At once: whoever comes now waits in the socket's queue, which the supervisor holds open.
        assert house.request("GET", "/healthz")[0] == 200
        until(lambda: all(c.ready for c in house.processes().children if c.name != "model"), "ready")
    assert house.stop() == 0


def test_when_the_supervisor_is_killed_all_end_and_the_next_start_is_clean(
    start: Callable[..., House],
) -> None:
    house = start(workers=2).wait_until_up()
    pids = house.processes().all()
    house.process.kill()
    house.process.wait()
    for pid in pids:
        until(lambda pid=pid: is_gone(pid), f"{pid} is gone", 5.0)
    assert find_running(house.data) is None
    again = start(data=house.data, port=house.port, console_port=house.console_port).wait_until_up()
    assert again.request("GET", "/healthz")[0] == 200
    assert again.stop() == 0


def test_a_start_right_after_a_kill_waits_for_the_old_processes(start: Callable[..., House]) -> None:
    house = start().wait_until_up()
    house.process.kill()
    again = start(data=house.data, port=house.port, console_port=house.console_port).wait_until_up()
    house.process.wait()
    assert again.stop() == 0


def test_all_killed_at_once_leaves_a_folder_that_starts(start: Callable[..., House]) -> None:
    house = start().wait_until_up()
    for pid in house.processes().all():
        os.kill(pid, signal.SIGKILL)
    house.process.wait()
    again = start(data=house.data, port=house.port, console_port=house.console_port).wait_until_up()
    assert again.request("GET", "/healthz")[0] == 200
    assert again.stop() == 0


def test_a_second_start_on_the_same_folder_is_refused_with_the_pids(start: Callable[..., House]) -> None:
    house = start().wait_until_up()
    other = start(data=house.data)
    assert other.process.wait(PATIENCE_S) == 3
    assert "is running already" in other.log
    assert str(house.process.pid) in other.log
    assert f":{house.port}" in other.log
    assert house.request("GET", "/healthz")[0] == 200
    assert house.stop() == 0


@pytest.mark.parametrize("option", ["port", "console_port"])
def test_a_port_in_use_is_named(start: Callable[..., House], option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        house = start(**{option: port})
        assert house.process.wait(PATIENCE_S) == 3
    assert str(port) in house.log
    assert f"--{option.replace('_', '-')}" in house.log
    assert "Traceback" not in house.log


def test_sigterm_lets_open_calls_finish(start: Callable[..., House]) -> None:
    with upstream() as provider:
        house = start(env={"OPENAI_BASE_URL": provider.url}).wait_until_up()
        answers: list[tuple[int, Any]] = []
        caller = threading.Thread(
            target=lambda: answers.append(house.request("POST", "/v1/chat/completions", CHAT))
        )
        caller.start()
        assert provider.asked.wait(PATIENCE_S)
        worker = house.pid("worker-1")
        house.process.send_signal(signal.SIGTERM)

        def refuses() -> bool:
            with suppress(ConnectionError), socket.create_connection(("127.0.0.1", house.port), 1):
                return False
            return True

        until(refuses, "new connections are refused")
        assert not is_gone(worker)
        provider.go_on.set()
        caller.join(PATIENCE_S)
        assert house.process.wait(PATIENCE_S) == 0
        status, body = answers[0]
        assert (status, body["choices"][0]["message"]["content"]) == (200, "done")


def test_calls_open_after_the_drain_are_cut_and_recorded(start: Callable[..., House], tmp_path: Path) -> None:
    config = tmp_path / "trimtab.toml"
    config.write_text("[gateway]\ndrain_s = 0.3\n")
    with upstream() as provider:
        house = start(config=str(config), env={"OPENAI_BASE_URL": provider.url}).wait_until_up()

        def call() -> None:
            with suppress(OSError, http.client.HTTPException):
                house.request("POST", "/v1/chat/completions", CHAT)

        caller = threading.Thread(target=call)
        caller.start()
        assert provider.asked.wait(PATIENCE_S)
        began = time.monotonic()
        assert house.stop() == 0
        assert time.monotonic() - began < 10
        caller.join(PATIENCE_S)
    from trimtab.serve import open_local
    from trimtab.storage import CallQuery

    with open_local(house.data) as local:
        (found,) = local.calls.find(CallQuery())
    assert found.state in ("cancelled", "error")


@pytest.mark.parametrize("how", ["ctrl-c", "hang-up"])
def test_the_terminal_s_ctrl_c_and_its_end_end_everything_in_order(
    start: Callable[..., House], how: str
) -> None:
    terminal, inner = os.openpty()
    house = start(terminal=inner).wait_until_up()
    os.close(inner)
    pids = house.processes().all()
    if how == "ctrl-c":
        os.write(terminal, b"\x03")
        assert house.process.wait(PATIENCE_S) == 0
        os.close(terminal)
    else:
        os.close(terminal)
        assert house.process.wait(PATIENCE_S) == 0
    assert all(is_gone(pid) for pid in pids)


def test_a_second_signal_ends_everything_at_once(start: Callable[..., House]) -> None:
    with upstream() as provider:
        house = start(env={"OPENAI_BASE_URL": provider.url}).wait_until_up()

        def call() -> None:
            with suppress(OSError, http.client.HTTPException):
                house.request("POST", "/v1/chat/completions", CHAT)

        caller = threading.Thread(target=call)
        caller.start()
        assert provider.asked.wait(PATIENCE_S)
        pids = house.processes().all()
        house.process.send_signal(signal.SIGINT)
        until(lambda: "stopping" in house.log, "stopping")
        house.process.send_signal(signal.SIGINT)
        assert house.process.wait(5.0) == 3
        assert all(is_gone(pid) for pid in pids)
        caller.join(PATIENCE_S)


def test_a_bad_configuration_is_refused_at_the_start(start: Callable[..., House], tmp_path: Path) -> None:
    config = tmp_path / "bad.toml"
    for text, said in (
        ("[gateway]\nprot = 1\n", "gateway.prot"),
        ('[providers.x]\nkind = "nonesuch"\n', "nonesuch"),
        ('[data]\npayload = "masked"\n', "masked"),
    ):
        config.write_text(text)
        house = start(config=str(config))
        assert house.process.wait(PATIENCE_S) == 2, house.log
        assert said in house.log
        assert "Traceback" not in house.log


def test_an_own_model_that_cannot_run_is_named_and_takes_nothing_down(
    start: Callable[..., House], tmp_path: Path
) -> None:
    missing = tmp_path / "missing.gguf"
    house = start(model_path=str(missing), env={"OPENAI_API_KEY": ""}).wait_until_up()
    until(lambda: "is tried again in 30 s" in house.log, "the model process gives its reason")
    assert str(missing) in house.log
    assert house.request("GET", "/healthz")[0] == 200
    assert house.stop() == 0


@pytest.mark.local
def test_a_killed_model_process_is_started_again_and_answers(start: Callable[..., House]) -> None:
    pytest.importorskip("xllamacpp")
    from trimtab.providers.own import find_weights

    if find_weights() is None:
        pytest.skip("the own model's weights are not on this machine; run: trimtab models pull")
    house = start(env={"OPENAI_API_KEY": ""}).wait_until_up()

    def model() -> int:
        child = next(c for c in house.processes().children if c.name == "model")
        return child.pid if child.ready else 0

    old = until(model, "the model is ready")
    os.kill(old, signal.SIGKILL)
    until(lambda: model() not in (0, old), "the model is ready again")
    status, body = house.request(
        "POST", "/v1/chat/completions", CHAT | {"model": "own/smollm2-135m-instruct", "max_tokens": 4}
    )
    assert (status, bool(body["choices"][0]["message"]["content"])) == (200, True)
    assert house.stop() == 0


def test_a_store_that_cannot_be_opened_is_named_and_the_start_given_up(start: Callable[..., House]) -> None:
    house = start().wait_until_up()
    assert house.stop() == 0
    for path in house.data.glob("app.db*"):
        path.unlink()
    (house.data / "app.db").write_bytes(b"this is no database, and it is long enough to be looked at" * 20)
    again = start(data=house.data)
    assert again.process.wait(PATIENCE_S) == 3
    assert "app.db" in again.log
    assert "given up" in again.log
    assert "Traceback" not in again.log


def put_format_1(data: Path) -> Path:
    """Lay a day file of format 1 into a new data folder."""
    data.mkdir()
    stored = Path(__file__).parents[1] / "unit" / "storage" / "data" / "format-1.db.xz"
    path = data / "calls-20260922.db"
    path.write_bytes(lzma.decompress(stored.read_bytes()))
    path.chmod(0o600)
    (data / "manifest.json").write_text('{"format":1}')
    return path


def test_day_files_of_an_earlier_format_are_converted_at_the_start(
    start: Callable[..., House], tmp_path: Path
) -> None:
    path = put_format_1(tmp_path / "data")
    house = start(data=path.parent).wait_until_up()
    assert "converting calls-20260922.db to the present format: 151 of 151 calls" in house.log
    status, found = house.request("GET", "/api/v1/calls?limit=200&text=invoice", admin=True)
    assert status == 200
    assert len(found["calls"]) > 20
    assert house.stop() == 0
    again = start(data=path.parent).wait_until_up()
    assert "converting" not in again.log
    assert again.stop() == 0


def test_a_day_file_that_cannot_be_converted_is_named_and_the_start_given_up(
    start: Callable[..., House], tmp_path: Path
) -> None:
    path = put_format_1(tmp_path / "data")
    connection = apsw.Connection(str(path))
    at = 4096 * (connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'calls'").get - 1)
    connection.close()
    whole = path.read_bytes()
    damaged = whole[:at] + b"damage" * 600 + whole[at + 3600 :]
    path.write_bytes(damaged)
    house = start(data=path.parent)
    assert house.process.wait(PATIENCE_S) == 3
    assert "calls-20260922.db is damaged" in house.log
    assert "none is lost" in house.log
    assert "Traceback" not in house.log
    assert path.read_bytes() == damaged


def test_a_reload_swaps_a_good_file_and_refuses_a_bad_one(
    start: Callable[..., House], tmp_path: Path
) -> None:
    config = tmp_path / "trimtab.toml"
    config.write_text("[access]\nopen = true\n")
    house = start(config=str(config), workers=2).wait_until_up()
    before = house.request("GET", "/api/v1/health", admin=True)[1]["generation"]
    assert house.request("GET", "/v1/models")[0] == 200

    config.write_text("[access]\nopne = false\n")
    house.process.send_signal(signal.SIGHUP)
    until(lambda: "did you mean 'open'" in house.log, "the refusal is explained")
    status, refused = house.request("POST", "/api/v1/reload", admin=True)
    assert (status, refused["error"]["code"]) == (500, "config_invalid")
    assert house.request("GET", "/api/v1/health", admin=True)[1]["generation"] == before
    assert house.request("GET", "/v1/models")[0] == 200

    config.write_text("[access]\nopen = false\n[gateway]\nworkers = 3\n")
    status, published = house.request("POST", "/api/v1/reload", admin=True)
    assert (status, published["obeyed"]) == (200, True)
    assert published["generation"] > before
    assert "gateway.workers" in published["notes"][0]
    # Both workers obey: connections are spread over them.
    assert {house.request("GET", "/v1/models")[0] for _ in range(8)} == {401}

    # A control process that finds a broken file when it is started again goes on with what was published.
    config.write_text("nonsense")
    old = house.pid("control")
    os.kill(old, signal.SIGKILL)
    until(lambda: house.pid("control") not in (0, old) and find_running(house.data), "control is back")
    until(lambda: all(c.ready for c in house.processes().children if c.name != "model"), "ready")
    assert house.request("GET", "/v1/models")[0] == 401
    assert house.request("POST", "/api/v1/keys", {"name": "k"}, admin=True)[0] == 201
    assert house.stop() == 0


def test_a_key_is_obeyed_by_all_workers_when_its_making_returns(
    start: Callable[..., House], tmp_path: Path
) -> None:
    config = tmp_path / "trimtab.toml"
    config.write_text("[access]\nopen = false\n")
    house = start(config=str(config), workers=2).wait_until_up()
    assert house.request("GET", "/v1/models")[0] == 401
    for _ in range(3):
        status, made = house.request("POST", "/api/v1/keys", {"name": "app"}, admin=True)
        assert (status, made["published"]["obeyed"]) == (201, True)
        assert {house.request("GET", "/v1/models", key=made["key"])[0] for _ in range(8)} == {200}
        status, gone = house.request("DELETE", f"/api/v1/keys/{made['id']}", admin=True)
        assert (status, gone["published"]["obeyed"]) == (200, True)
        assert {house.request("GET", "/v1/models", key=made["key"])[0] for _ in range(8)} == {401}
    assert made["key"] not in house.log
    stored = b"".join(p.read_bytes() for p in house.data.rglob("*") if p.is_file())
    assert made["key"].encode() not in stored
    assert house.stop() == 0


def test_nothing_but_the_token_opens_the_admin_api(start: Callable[..., House]) -> None:
    house = start().wait_until_up()
    connection = http.client.HTTPConnection("127.0.0.1", house.console_port, timeout=PATIENCE_S)
    token = {"authorization": f"Bearer {house.running().token}"}
    for headers, expected in (
        ({}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        (token | {"origin": "https://evil.example"}, 403),
        (token | {"host": "evil.example"}, 403),
        (token, 200),
    ):
        connection.request("GET", "/api/v1/keys", headers=headers)
        reply = connection.getresponse()
        reply.read()
        assert reply.status == expected, headers
    connection.close()
    assert house.stop() == 0
