"""A recorded call as code: what is copied makes the same request, and holds nobody's key."""

import json
import shutil
import subprocess

import pytest

from rigs.sample_day import NOW_US, answer_of, finished, opened_at
from trimtab.console.content.reuse import KEY, reuse
from trimtab.testing import FakeServer

BODIES = {
    "plain": {"model": "gpt-4o", "messages": [{"role": "user", "content": "It's 'so', $HOME `x` \\ \"y\"\n請求書"}]},
    "tools": {
        "model": "gpt-4o", "messages": [{"role": "user", "content": "x" * 300}], "temperature": 0, "seed": None,
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    },
    "unknown": {
        "model": "gpt-4o", "messages": [{"role": "user", "content": "?"}], "top_k": 5, "a-b": [True, 1.5], "class": 1,
    },
    "stream": {"model": "gpt-4o", "messages": [{"role": "user", "content": "?"}], "stream": True},
}  # fmt: skip


def call_of(body, **more):
    opened = opened_at(NOW_US, body, model="openai/gpt-4o", prompt="", number=0, **more)
    return finished(opened, latency_us=1000, answer=answer_of("yes"))


@pytest.fixture(scope="module")
def server():
    with FakeServer() as server:
        yield server


def gateway_of(server):
    return server.base_url.removesuffix("/v1")


def asked(server):
    """Return the newest request: body and key."""
    request = server.requests[-1]
    key = next(value for name, value in request.headers if name.lower() == "authorization")
    return json.loads(request.body), key


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_the_python_makes_the_same_request_by_openais_own_client(server, body, monkeypatch, capsys):
    monkeypatch.setenv(KEY, "tt-the-visitors-own")
    code = reuse(call_of(body), gateway_of(server)).python
    exec(compile(code, "copied", "exec"), {})
    assert asked(server) == (body, "Bearer tt-the-visitors-own")
    assert capsys.readouterr().out


@pytest.mark.skipif(not shutil.which("curl"), reason="no curl here; on Debian and Ubuntu: apt install curl")
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_the_curl_makes_the_same_request(server, body):
    code = reuse(call_of(body), gateway_of(server)).curl
    env = {KEY: "tt-mine", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["bash", "-c", code], env=env, capture_output=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    assert asked(server) == (body, "Bearer tt-mine")


def test_embeddings_are_made_again_too(server, monkeypatch, capsys):
    monkeypatch.setenv(KEY, "k")
    body = {"model": "m", "input": ["one"], "encoding_format": "float"}
    exec(compile(reuse(call_of(body, kind="embeddings"), gateway_of(server)).python, "copied", "exec"), {})
    assert asked(server)[0] == body
    assert capsys.readouterr().out


@pytest.mark.parametrize(
    ("body", "more"),
    [
        ({"messages": []}, {"payload": "masked"}),
        ({"messages": []}, {"kind": "span"}),
        ({"messages": [{"role": "user", "content": "x" * 200_000}]}, {}),
    ],
)
def test_what_cannot_be_made_again_offers_no_code(body, more):
    assert reuse(call_of(body, **more), "http://g") is None
    assert reuse(call_of([]), "http://g") is None


def test_the_page_offers_both_and_links_to_calls_alike(viewer, control):
    call = next(call for call in control.records.calls if call.opened.payload == "full" and call.opened.tags)
    page = viewer.get(f"/calls/{call.id}")
    assert f"Bearer ${KEY}" in page.words
    assert f'os.environ["{KEY}"]' in page.words
    text = page.text.replace("&#x2f;", "/").replace("&amp;", "&")
    for fields in (f"tag={call.opened.tags[0]}", f"user={call.opened.user}", "model=", "provider=", "state="):
        assert f"/calls?project={call.opened.project}&{fields}" in text
