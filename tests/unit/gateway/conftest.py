"""A gateway on a socket, over fake providers in this process."""

import http.client
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rigs.gateway import POLICY, GatewayRig
from trimtab.types import Policy, ProviderSpec, Snapshot


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def error(self) -> dict[str, Any]:
        body = self.json()
        assert set(body) == {"error"}
        assert set(body["error"]) == {"message", "type", "param", "code"}
        return body["error"]


@dataclass
class Site:
    """Speaks HTTP with a gateway."""

    rig: GatewayRig

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        *,
        chunked: bool = False,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.rig.port, timeout=10)
        sent = {"Content-Type": "application/json"} if body is not None else {}
        sent |= headers or {}
        data = iter([body[n : n + 1000] for n in range(0, len(body), 1000)]) if chunked else body
        try:
            with suppress(
                BrokenPipeError, ConnectionResetError
            ):  # it may answer before it has read everything
                connection.request(method, path, data, sent, encode_chunked=chunked)
            reply = connection.getresponse()
            names = {name.lower(): value for name, value in reply.getheaders()}
            return Answer(reply.status, names, reply.read())
        finally:
            connection.close()

    def chat(self, model: str = "f/m", *, headers: dict[str, str] | None = None, **body: Any) -> Answer:
        asked = {"model": model, "messages": [{"role": "user", "content": "Hello"}], **body}
        return self.send("POST", "/v1/chat/completions", msgspec.json.encode(asked), headers)


def fake(name: str = "f", *models: str, **options: Any) -> ProviderSpec:
    return ProviderSpec(name=name, kind="fake", models=models, options=options)


Make = Callable[..., Site]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Start gateways: `make(provider, ..., policy=..., **fields of the snapshot)`."""
    with ExitStack() as stack:

        def start(*providers: ProviderSpec, policy: Policy = POLICY, **snapshot: Any) -> Site:
            made = Snapshot(
                generation=snapshot.pop("generation", 1), policy=policy, providers=providers, **snapshot
            )
            folder = tmp_path / f"site-{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            return Site(stack.enter_context(GatewayRig(folder, made)))

        yield start


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One gateway for all tests of a file that only look."""
    providers = (fake("f", "m", "n", replies=("Paris",)), fake("down", "x", fault="refused"))
    snapshot = Snapshot(generation=7, policy=POLICY, providers=providers)
    with GatewayRig(tmp_path_factory.mktemp("site"), snapshot) as rig:
        yield Site(rig)
