"""What these tests share: a clean place, calls in a real store, the real admin API on a socket."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest

from trimtab.access import make_key
from trimtab.api import Published, make_api
from trimtab.cli import main
from trimtab.serve import open_local
from trimtab.serve.folder import FolderLock, Layout
from trimtab.serve.runfile import Processes, make_token, write_admin, write_processes
from trimtab.types import Attempt, Call, Closed, NotFound, Opened, Snapshot, Usage, new_id

START_US = 1_790_000_000_000_000


@dataclass
class Ran:
    code: int
    out: str
    err: str


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, with nothing of this machine's user in it."""
    for name in list(os.environ):
        if name.startswith(("TRIMTAB_", "OPENAI_", "XDG_")) or name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture
def run(place: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        code = main(arguments)
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return run


@pytest.fixture
def make_call() -> Callable[..., Call]:
    return _make_call


def _make_call(n: int = 0, *, words: str = "hello", closed: bool = True, **changes: object) -> Call:
    """A call of `n` seconds after the start."""
    at_us = START_US + n * 1_000_000
    request = {"model": "openai/m", "messages": [{"role": "user", "content": words}]}
    opened = Opened(
        id=new_id(at_us // 1000),
        opened_us=at_us,
        project="default",
        purpose="live",
        kind="chat",
        route="",
        channel="",
        release="rel_x",
        arm="",
        model_asked="m",
        model="openai/m",
        params_hash="",
        stream=False,
        key="",
        session="",
        user="",
        tags=(),
        client="tests",
        trace_parent="",
        parent_call="",
        replay_of="",
        payload="full",
        request=msgspec.json.encode(request),
    )
    answer = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "so it is"}}]}
    end = Closed(
        id=opened.id,
        closed_us=at_us + 42_000,
        first_byte_us=9000,
        state="ok",
        status=200,
        error_code="",
        error_message="",
        model="openai/m",
        model_served="m-1",
        provider="openai",
        provider_response_id="resp-1",
        provider_request_id="req-1",
        fingerprint="",
        finish_reason="stop",
        attempts=(Attempt("openai/m", 0, 9000, "", 200),),
        usage=Usage(5, 7),
        cost_nusd=24750,
        price_version="2026-11",
        degraded=False,
        cache_hit=False,
        response=msgspec.json.encode(answer),
    )
    names = set(changes)
    opened = msgspec.structs.replace(opened, **{k: changes[k] for k in names & set(Opened.__struct_fields__)})
    end = msgspec.structs.replace(end, **{k: changes[k] for k in names & set(Closed.__struct_fields__)})
    return Call(opened=opened, closed=end if closed else None, state=end.state if closed else "unfinished")


@pytest.fixture
def stored(place: Path) -> Callable[[list[Call]], Path]:
    """Puts calls into the project's store, as the recorder would."""

    def stored(calls: list[Call]) -> Path:
        data = place / "data"
        (place / "trimtab.toml").write_text('[data]\ndir = "data"\n')
        with open_local(data) as local:
            local.calls.insert(calls)
            while local.calls.index_pending():
                pass
        return data

    return stored


@dataclass
class StubControl:
    """The control process's port over plain lists; the API above it is the real one."""

    calls: list[Call] = field(default_factory=list)
    published: Snapshot = field(default_factory=lambda: Snapshot(generation=1))
    held: list = field(default_factory=list)
    finds: list = field(default_factory=list)

    def __getattr__(self, part):
        """Every part of the port is this one object."""
        if part in ("records", "people", "objects", "machine"):
            return self
        raise AttributeError(part)

    async def signed_in(self, token):
        return None

    async def find(self, query, *, payload):
        self.finds.append(query)
        found = sorted((c for c in self.calls if not query.before or c.id < query.before), key=lambda c: c.id)
        return [c for c in found[::-1] if c.opened.opened_us >= query.since_us][: query.limit]

    async def get(self, call_id):
        return next((c for c in self.calls if c.id == call_id), None)

    async def keys(self):
        return self.held

    async def add_key(self, actor, name, project, payload, cache_ttl_s=None):
        plain, key = make_key(name, project=project, payload=payload)
        self.held.append(key)
        return plain, key, Published(generation=2, obeyed=True)

    async def revoke_key(self, actor, key_id):
        kept = [key for key in self.held if key.id != key_id]
        if len(kept) == len(self.held):
            raise NotFound(f"there is no key {key_id!r}")
        self.held = kept
        return Published(generation=3, obeyed=True)

    async def snapshot(self):
        return self.published


@pytest.fixture
def running(place: Path) -> Iterator[StubControl]:
    """A project on which Trimtab seems to run: its admin API, on a real socket."""
    data = place / "data"
    (data / "run").mkdir(parents=True)
    (place / "trimtab.toml").write_text('[data]\ndir = "data"\n')
    control = StubControl()
    app = make_api(control, make_token(data / "run"), bound_to_loopback=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(app))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    write_processes(
        data / "run", Processes(supervisor=os.getpid(), gateway="http://127.0.0.1:9", console=url)
    )
    write_admin(data / "run", url)
    with FolderLock(Layout(data)) as lock:
        lock.acquire()
        yield control
    server.shutdown()
    thread.join()
    server.server_close()


def _handler(app) -> type[BaseHTTPRequestHandler]:
    """Serve an ASGI application, one event loop a request: slow, and enough for tests."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            path, _, query = self.path.partition("?")
            scope = {
                "type": "http",
                "asgi": {"version": "3.0"},
                "http_version": "1.1",
                "method": self.command,
                "path": path,
                "raw_path": path.encode(),
                "query_string": query.encode(),
                "headers": [(k.lower().encode(), v.encode()) for k, v in self.headers.items()],
            }
            asyncio.run(app(scope, self._receive(body), self._send))

        do_GET = do_POST = do_DELETE = answer

        def _receive(self, body: bytes):
            async def receive():
                return {"type": "http.request", "body": body, "more_body": False}

            return receive

        async def _send(self, message) -> None:
            if message["type"] == "http.response.start":
                self.send_response(message["status"])
                for name, value in message["headers"]:
                    self.send_header(name.decode(), value.decode())
                self.end_headers()
            else:
                self.wfile.write(message.get("body", b""))

        def log_message(self, *_args: object) -> None:
            pass

    return Handler
