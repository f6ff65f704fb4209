"""What nobody honest sends, at a real gateway: each is refused with a stable code or shed, and harms nobody else."""

import json
import socket
import threading
from pathlib import Path

import pytest

from rigs.attack import DEEP, ask, chat, code_of, connected, get, lists, nested, said
from rigs.gateway import POLICY, GatewayRig, fake
from rigs.house import until
from trimtab.access import make_key
from trimtab.testing import FakeServer
from trimtab.types import Closed, Snapshot

GOOD = ask(chat())
HUGE = "9" * 100_000


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with FakeServer() as server:
        snapshot = Snapshot(
            generation=1,
            policy=POLICY.__class__(
                max_request_bytes=8 << 20, deadlines=POLICY.deadlines, retry=POLICY.retry
            ),
            providers=(fake("openai", server.base_url, models=("m",)),),
        )
        with GatewayRig(tmp_path_factory.mktemp("hostile"), snapshot) as rig:
            yield rig


@pytest.fixture(autouse=True)
def alive(gateway, caplog):
    """Afterwards an honest caller is answered, and no fault of ours was logged."""
    yield
    [reply] = said(gateway.port, GOOD)
    assert reply.status == 200
    assert not [r for r in caplog.records if r.exc_info], caplog.text


def raw(**fields: str) -> bytes:
    """Return a chat request with fields as JSON text."""
    parts = {"model": '"openai/m"', "messages": '[{"role":"user","content":"x"}]'} | fields
    return ("{" + ",".join(f'"{name}":{value}' for name, value in parts.items()) + "}").encode()


REFUSED: dict[str, tuple[bytes, int, str]] = {
    "objects, 100,000 levels": (ask(nested(DEEP)), 400, "invalid_request"),
    "lists, 100,000 levels": (ask(lists(DEEP)), 400, "invalid_request"),
    "lists that never close": (ask(b"[" * DEEP), 400, "invalid_request"),
    "a body that is a number of 100,000 digits": (ask(HUGE.encode()), 400, "invalid_request"),
    "a model that is a number of 100,000 digits": (ask(raw(model=HUGE)), 400, "invalid_request"),
    "a stream flag that is a number": (ask(raw(stream="1e999999")), 400, "invalid_request"),
    "invalid UTF-8 in the model": (ask(raw().replace(b"openai/m", b"openai/\xff\xfe")), 400, "invalid_request"),
    "a lone surrogate in the model": (ask(raw(model='"openai/\\ud800"')), 400, "invalid_request"),
    "NUL in the model": (ask(raw(model='"openai/\\u0000m"')), 400, "invalid_request"),
    "a model of 1 MB": (ask(raw(model=f'"{"m" * 1_000_000}"')), 400, "invalid_request"),
    "a model nobody serves": (ask(raw(model='"nobody/m"')), 404, "model_not_found"),
    "a model that is a path": (ask(raw(model='"../../etc/passwd"')), 404, "model_not_found"),
    "UTF-16": (ask('{"model": "openai/m"}'.encode("utf-16")), 400, "invalid_request"),
    "a byte order mark": (ask(b"\xef\xbb\xbf" + raw()), 400, "invalid_request"),
    "nothing": (ask(b""), 400, "invalid_request"),
    "two values": (ask(raw() + raw()), 400, "invalid_request"),
    "a body over the limit": (ask(raw(metadata=f'"{"x" * (8 << 20)}"')), 413, "request_too_large"),
    "a body declared at 10^18 bytes": (GOOD.replace(b"Content-Length: ", b"Content-Length: 9" + b"0" * 16), 413,
                                       "request_too_large"),
    "a compressed body": (ask(raw(), more="Content-Encoding: gzip\r\n"), 400, "invalid_request"),
    "a body that is no JSON by its type": (GOOD.replace(b"application/json", b"text/plain"), 415,
                                           "unsupported_media_type"),
    "NUL in a label": (ask(chat(), more="X-Trimtab-User: a\0b\r\n"), 400, "invalid_request"),
    "an escape in a label": (ask(chat(), more="X-Trimtab-Session: a\x1b]0;x\r\n"), 400, "invalid_request"),
    "a proxy's header": (ask(chat(), more="X-Forwarded-For: 1.2.3.4\r\n"), 401, "invalid_api_key"),
    "another host": (ask(chat(), host="evil.example"), 403, "forbidden"),
    "two hosts": (ask(chat(), more="Host: localhost\r\n"), 400, "invalid_request"),
    "a host that is empty": (ask(chat(), host=""), 403, "forbidden"),
    "two lengths": (ask(chat(), more="Content-Length: 5\r\n"), 400, "invalid_request"),
    "a length and chunks": (ask(chat(), more="Transfer-Encoding: chunked\r\n"), 400, "invalid_request"),
    "a coding we do not know": (get("/healthz", "Transfer-Encoding: gzip, chunked\r\n"), 501, "invalid_request"),
    "a folded header": (get("/healthz", "X-A: b\r\n c\r\n"), 400, "invalid_request"),
    "a space before the colon": (get("/healthz", "X-A : b\r\n"), 400, "invalid_request"),
    "300 headers": (get("/healthz", "".join(f"X-{n}: 1\r\n" for n in range(300))), 431, "invalid_request"),
    "a header of 100 KB": (get("/healthz", f"X-A: {'b' * 100_000}\r\n"), 431, "invalid_request"),
    "a key of 60 KB": (ask(chat(), more=f"Authorization: Bearer tt-{'k' * 60_000}\r\n"), 401, "invalid_api_key"),
    "two slashes": (ask(chat(), "//v1/chat/completions"), 404, "not_found"),
    "dots": (ask(chat(), "/v1/../v1/chat/completions"), 404, "not_found"),
    "encoded dots": (ask(chat(), "/%2e%2e/v1/chat/completions"), 404, "not_found"),
    "NUL in the path": (ask(chat(), "/v1/chat/completions%00"), 404, "not_found"),
    "a path in capitals": (ask(chat(), "/V1/CHAT/COMPLETIONS"), 404, "not_found"),
    "a backslash": (ask(chat(), "/v1\\chat\\completions"), 404, "not_found"),
    "an absolute target elsewhere": (ask(chat(), "http://evil.example/v1/chat/completions"), 403, "forbidden"),
    "a method in the wrong place": (GOOD.replace(b"POST", b"DELETE"), 405, "method_not_allowed"),
    "a method nobody has": (GOOD.replace(b"POST", b"STEAL"), 400, "invalid_request"),
    "CONNECT": (b"CONNECT localhost:22 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "invalid_request"),
    "another version": (GOOD.replace(b"HTTP/1.1", b"HTTP/1.9"), 400, "invalid_request"),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "invalid_request"),
    "a TLS greeting": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200, 400, "invalid_request"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_it_is_refused_with_a_stable_code(gateway, what: str) -> None:
    data, status, code = REFUSED[what]
    replies = said(gateway.port, data)
    assert replies, "no word of why"
    assert (replies[0].status, code_of(replies[0])) == (status, code), replies[0]


TAKEN: dict[str, bytes] = {
    "10,000 messages": ask({"model": "openai/m", "messages": [{"role": "user", "content": "x"}] * 10_000}),
    "the same key twice": ask(b'{"model":"nobody/m",' + raw()[1:]),
    "a number of 100,000 digits where only the provider looks": ask(raw(temperature=f"0.{HUGE}")),
    "50 levels": ask(nested(50)),
    "an absolute target here": ask(chat(), "http://localhost/v1/chat/completions"),
    "an encoded slash": get("/v1%2Fmodels"),
    "a slash at the end": ask(chat(), "/v1/chat/completions/"),
    "250 headers": ask(chat(), more="".join(f"X-{n}: 1\r\n" for n in range(240))),
    "labels that are no text": ask(chat(), more="X-Trimtab-User: \xff\xfe\r\n"),
}


@pytest.mark.parametrize("what", TAKEN)
def test_odd_requests_that_mean_one_thing_are_answered(gateway, what: str) -> None:
    [reply] = said(gateway.port, TAKEN[what])
    assert reply.status == 200, reply


def test_the_later_of_two_keys_of_a_name_is_the_one_that_is_obeyed_and_sent(gateway) -> None:
    [reply] = said(gateway.port, ask(raw()[:-1] + b',"model":"nobody/m"}'))
    assert code_of(reply) == "model_not_found"


def test_a_client_that_hangs_up_before_a_plain_answer_is_no_fault_of_ours(gateway) -> None:
    def ended() -> int:
        return sum(isinstance(record, Closed) for record in gateway.records())

    before = ended()
    for _ in range(5):
        with connected(gateway.port) as sock:
            sock.sendall(GOOD)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass
    until(lambda: ended() == before + 5, "each of them is recorded")


def test_wrong_keys_by_the_thousand_are_refused_cheaply_and_others_are_served(tmp_path) -> None:
    plain, spec = make_key("honest")
    with FakeServer() as server:
        snapshot = Snapshot(
            generation=1, policy=POLICY, providers=(fake("openai", server.base_url),), keys=(spec,)
        )
        with GatewayRig(tmp_path, snapshot) as rig:
            guesses = [
                ask(chat(), more=f"Authorization: Bearer tt-guess{n}\r\n").replace(b"close", b"keep-alive")
                for n in range(1000)
            ]
            refused: list[int] = []

            def guess() -> None:
                with connected(rig.port) as sock:
                    file = sock.makefile("rb")
                    for request in guesses:
                        sock.sendall(request)
                        refused.append(int(file.readline().split()[1]))
                        length = 0
                        while (line := file.readline()) != b"\r\n":
                            if line.lower().startswith(b"content-length:"):
                                length = int(line.split(b":")[1])
                        file.read(length)

            threads = [threading.Thread(target=guess) for _ in range(2)]
            for thread in threads:
                thread.start()
            for _ in range(20):
                [reply] = said(rig.port, ask(chat(), more=f"Authorization: Bearer {plain}\r\n"))
                assert reply.status == 200
            for thread in threads:
                thread.join(120)
            assert refused == [401] * 2000
            calls = rig.calls(20)
            assert {closed.state for _, closed in calls} == {"ok"}
            counted = [o for o, _ in calls]
            assert len(counted) == 20, "a refused guess makes no record"


def test_heads_and_bodies_that_trickle_hold_nobody_up(gateway) -> None:
    crawling = []
    try:
        for n in range(200):
            sock = socket.create_connection(("127.0.0.1", gateway.port), timeout=30)
            sock.sendall(GOOD[: 20 if n % 2 else len(GOOD) - 10])
            crawling.append(sock)
        for _ in range(5):
            [reply] = said(gateway.port, GOOD)
            assert reply.status == 200
            for sock in crawling:
                sock.sendall(b"x")
    finally:
        for sock in crawling:
            sock.close()


CHUNKED = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
EMPTY = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    "outer",
    [
        CHUNKED + b"Content-Length: 4\r\n\r\n0\r\n\r\n",
        CHUNKED + b"Transfer-Encoding: x\r\n\r\n0\r\n\r\n",
        CHUNKED + b"\r\n0x1\r\n\r\n",
        CHUNKED + b"\r\n1;a\nb\r\nx\r\n0\r\n\r\n",
        CHUNKED + b"\r\n-1\r\n\r\n",
        EMPTY + b"Content-Length: +0\r\n\r\n",
        EMPTY + b"Content-Length : 0\r\n\r\n",
        EMPTY + b"Transfer-Encoding: identity\r\n\r\n",
    ],
    ids=range(8),
)
def test_smuggled_requests_are_never_answered(gateway, outer: bytes) -> None:
    replies = said(gateway.port, outer + b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert all(reply.status >= 400 for reply in replies), replies
    assert replies[0].status < 500 or replies[0].status == 501


def test_a_thousand_refusals_leave_no_memory_behind(gateway) -> None:
    def megabytes() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

    def round_() -> None:
        for what in ("objects, 100,000 levels", "a model of 1 MB", "300 headers", "two lengths", "dots"):
            said(gateway.port, REFUSED[what][0])

    for _ in range(20):
        round_()
    before = megabytes()
    for _ in range(100):
        round_()
    assert megabytes() - before < 30


def test_answers_to_refusals_echo_nothing_that_a_terminal_obeys(gateway) -> None:
    [reply] = said(gateway.port, ask(raw(model='"nobody/\\u202e"')))
    assert reply.status in (400, 404)
    text = json.loads(reply.body)["error"]["message"]
    assert "\u202e" not in text
