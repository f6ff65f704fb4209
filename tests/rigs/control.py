"""The control process's room on real stores, and the real admin API over it, in this process and without workers."""

import asyncio
import json
from collections.abc import Coroutine
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

from trimtab.api import make_api
from trimtab.config import Console, Data, Gateway, Own
from trimtab.serve.control import ControlRoom, Stores
from trimtab.serve.folder import Layout
from trimtab.serve.options import ChildOptions
from trimtab.serve.secretfile import make_seal
from trimtab.types import Actor, Clock

T = TypeVar("T")
TOKEN = "the-installations-token"
PASSWORD = "a long enough password"
ADMIN = Actor(name="admin-token", role="admin")
EDITOR = Actor(name="ed", role="editor")
VIEWER = Actor(name="vi", role="viewer")


class Answer(NamedTuple):
    status: int
    json: Any
    raw: bytes
    headers: dict[str, str]


@dataclass
class ControlRig:
    """`ask` speaks HTTP's language to the API; `run` awaits what the room itself gives."""

    folder: Path
    config: str = ""
    clock: Clock | None = None
    bound_to_loopback: bool = True
    restarts: int = 0
    control: ControlRoom = field(init=False)
    stores: Stores = field(init=False)

    @property
    def layout(self) -> Layout:
        return Layout(self.folder / "data")

    def __enter__(self) -> Self:
        self.layout.make()
        path = self.folder / "trimtab.toml"
        path.write_text(self.config)
        with ExitStack() as stack:
            self._runner = stack.enter_context(asyncio.Runner())
            self.stores = stack.enter_context(Stores(self.layout))
            options = ChildOptions(
                kind="control", index=0, data_dir=str(self.layout.root), config=str(path), gateway=Gateway(),
                console=Console(), data=Data(), own=Own(enabled=False), restarts=self.restarts,
            )  # fmt: skip
            seal = make_seal(self.layout.secret)
            self.control = stack.enter_context(
                ControlRoom(options, self.layout, self.stores, seal, TOKEN, self.clock)
            )
            self.run(self.control.publish_first())
            self.app = make_api(self.control, TOKEN, bound_to_loopback=self.bound_to_loopback)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Await something on the rig's loop."""
        return self._runner.run(work)

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str = TOKEN,
        headers: dict[str, str] | None = None,
        address: str = "127.0.0.1",
    ) -> Answer:
        """Send a request; a body that is no bytes goes as JSON."""
        given = {"host": "127.0.0.1:8401"} | ({"authorization": f"Bearer {token}"} if token else {})
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        if raw:
            given |= {"content-type": "application/json", "content-length": str(len(raw))}
        given |= headers or {}
        path, _, query = path.partition("?")
        scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode(),
            "headers": [(k.encode(), v.encode()) for k, v in given.items()], "http_version": "1.1",
            "scheme": "http", "server": ("127.0.0.1", 8401), "client": (address, 1), "root_path": "",
        }  # fmt: skip
        sent: list[Any] = []
        asked = False

        async def receive() -> dict[str, Any]:
            nonlocal asked
            if asked:  # whoever listens for the client's end hears nothing
                await asyncio.Event().wait()
            asked = True
            return {"type": "http.request", "body": raw, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        self.run(self.app(scope, receive, send))
        answer = b"".join(m.get("body", b"") for m in sent[1:])
        kinds = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
        is_json = kinds.get("content-type") == "application/json" and answer
        return Answer(sent[0]["status"], json.loads(answer) if is_json else None, answer, kinds)

    def user(self, name: str, role: str) -> str:
        """Make a user; return the token of a sign-in."""
        made = self.ask("POST", "/api/v1/users", {"name": name, "password": PASSWORD, "role": role})
        assert made.status == 201, made
        return self.sign_in(name)

    def sign_in(self, name: str, password: str = PASSWORD) -> str:
        answer = self.ask("POST", "/api/v1/login", {"name": name, "password": password}, token="")
        assert answer.status == 201, answer
        return answer.json["token"]

    def audit(self, **filters: str) -> list[dict[str, Any]]:
        """The audit log, newest first."""
        query = "&".join(f"{name}={value}" for name, value in filters.items())
        return self.ask("GET", f"/api/v1/audit?limit=1000&{query}").json["entries"]
