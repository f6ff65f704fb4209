"""The running admin API against its own description: schemathesis makes requests up, good ones and bad ones."""

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from rigs.control import TOKEN, ControlRig
from trimtab.api import ROUTES, document
from trimtab.config import Gateway
from trimtab.ledger import Recorder
from trimtab.serve.child.server import serve
from trimtab.storage.sqlite import open_call_store

CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)
EXAMPLES = 12
"""A path and role; each takes some 5 ms."""

NEVER = {"post_backup", "post_restart"}
"""One writes wherever it is told to, the other needs a supervisor; both are tested by hand."""

SCHEMA = schemathesis.openapi.from_dict(document(ROUTES))
OPERATIONS = [route for route in ROUTES if route.endpoint.__name__ not in NEVER]
bounded = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@dataclass
class Served:
    rig: ControlRig
    url: str
    tokens: dict[str, str]

    def state(self) -> list[object]:
        """All that could be changed, read by the admin."""
        import http.client

        found = []
        for path in (
            "keys",
            "projects",
            "providers",
            "settings",
            "settings/changes",
            "views",
            "users",
            "snapshot",
        ):
            link = http.client.HTTPConnection(self.url.removeprefix("http://"))
            link.request(
                "GET", f"/api/v1/{path}", headers={"authorization": f"Bearer {self.tokens['admin']}"}
            )
            found.append(link.getresponse().read())
            link.close()
        return found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    ready, stop = threading.Event(), threading.Event()
    made: list[Served] = []

    def run_api() -> None:
        import asyncio

        with ControlRig(folder) as rig:

            async def nowhere(*_: object, **__: object) -> list[object]:
                raise socket.gaierror(socket.EAI_NONAME, "no such name")

            async def main() -> None:
                asyncio.get_running_loop().getaddrinfo = nowhere
                stopped = asyncio.Event()
                serving = asyncio.ensure_future(serve(rig.app, listener.detach(), Gateway(), stopped))
                ready.set()
                await asyncio.to_thread(stop.wait)
                stopped.set()
                await serving

            tokens = {"viewer": rig.user("vi", "viewer"), "editor": rig.user("ed", "editor")}
            tokens["admin"] = TOKEN
            made.append(Served(rig, f"http://127.0.0.1:{port}", tokens))
            rig.run(main())

    def run_recorder() -> None:
        store = open_call_store(Path(folder) / "data")
        with Recorder(Path(folder) / "data" / "log", store) as recorder:
            while not stop.is_set():
                recorder.step()
                time.sleep(0.005)
        store.close()

    threads = [threading.Thread(target=run_api), threading.Thread(target=run_recorder)]
    threads[0].start()
    assert ready.wait(30)
    threads[1].start()
    yield made[0]
    stop.set()
    for thread in threads:
        thread.join()


def requests_of(route: Any, **options: Any) -> Any:
    return SCHEMA[route.path][route.method].as_strategy(**options)


def call(served: Served, case: Any, role: str) -> Any:
    return case.call(base_url=served.url, headers={"authorization": f"Bearer {served.tokens[role]}"})


MODES = [
    (route, mode)
    for route in OPERATIONS
    for mode in schemathesis.GenerationMode
    if mode is schemathesis.GenerationMode.POSITIVE or route.body or route.query
]


@pytest.mark.parametrize(("route", "mode"), MODES, ids=lambda part: getattr(part, "name", part))
def test_what_it_answers_is_what_it_says(served: Served, route: Any, mode: Any) -> None:
    @bounded
    @given(case=requests_of(route, generation_mode=mode))
    def run(case: Any) -> None:
        response = call(served, case, "admin")
        case.validate_response(response, checks=CHECKS)
        assert TOKEN not in response.text
        if mode is schemathesis.GenerationMode.POSITIVE and route.role is not None:
            assert response.status_code not in (401, 403), "all of this was tried on a closed door"

    run()


@pytest.mark.parametrize("role", ["viewer", "editor"])
def test_no_request_whatever_lets_a_role_do_more(served: Served, role: str) -> None:
    refused = [
        route
        for route in OPERATIONS
        if route.role == "admin" or (role == "viewer" and route.role not in ("viewer", None))
    ]
    before = served.state()

    for route in refused:

        @bounded
        @given(case=requests_of(route))
        def run(case: Any) -> None:
            # 404: a made-up name may hold a slash, and then leads to no route.
            assert call(served, case, role).status_code in (403, 404)

        run()
    assert served.state() == before
