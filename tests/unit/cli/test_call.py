"""`trimtab call` against an OpenAI-compatible server on a socket, in the gateway's place."""

import io
import json

import pytest

from trimtab.testing import FakeServer, Scripted


@pytest.fixture
def gateway(place, monkeypatch):
    def start(*script, **options):
        server = FakeServer(**({"script": list(script)} if script else {}), **options)
        servers.append(server.__enter__())
        monkeypatch.setenv("TRIMTAB_BASE_URL", server.base_url)
        return server

    servers: list[FakeServer] = []
    yield start
    for server in servers:
        server.__exit__(None, None, None)


def test_the_answer_alone_goes_to_stdout(run, gateway):
    gateway()
    for more in ((), ("--no-stream",)):
        ran = run("call", "some/model", "hello there", *more)
        assert (ran.code, ran.out, ran.err) == (0, "hello there\n", "")


def test_wishes_reach_the_model(run, gateway):
    server = gateway()
    ran = run("call", "m", "hi", "--system", "be brief", "--temperature", "0", "--max-tokens", "9")
    assert ran.code == 0, ran.err
    body = server.requests[-1].json()
    assert body["messages"] == [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
    assert (body["temperature"], body["max_tokens"], body["model"]) == (0, 9, "m")


def test_stdin_is_the_prompt_for_a_dash(run, gateway, monkeypatch):
    gateway()
    monkeypatch.setattr("sys.stdin", io.StringIO("from\nstdin\n"))
    ran = run("call", "m", "-")
    assert ran.out == "from\nstdin\n"


def test_json_is_the_whole_reply(run, gateway):
    gateway()
    reply = json.loads(run("call", "m", "hi", "--json").out)
    assert reply["choices"][0]["message"]["content"] == "hi"
    assert reply["usage"]["total_tokens"] > 0


def test_the_models_name_may_be_left_out(run, gateway, monkeypatch):
    server = gateway()
    monkeypatch.setenv("TRIMTAB_MODEL", "mine")
    assert run("call", "hi").code == 0
    assert server.requests[-1].json()["model"] == "mine"


def test_an_error_is_two_lines(run, gateway):
    gateway(fault="bad_request")
    ran = run("call", "m", "hi")
    assert (ran.code, ran.out) == (2, "")
    assert len(ran.err.splitlines()) <= 2


@pytest.mark.parametrize(
    "fault",
    ["cut_between_events", "cut_mid_chunk", "reset_mid_reply", "error_event_late", "cut_before_content"],
)
def test_a_broken_stream_is_never_passed_off_as_an_answer(run, gateway, fault):
    gateway(fault=fault)
    ran = run("call", "m", "one two three four five six")
    assert ran.code == 3
    assert ran.err.startswith("error: ")
    assert ran.out == "" or ran.out.endswith("\n")


def test_a_pipe_gets_the_answer_as_it_is(run, gateway):
    gateway(Scripted(text="a\x1b[31mb"))
    assert run("call", "m", "hi").out == "a\x1b[31mb\n"


def test_a_terminal_gets_what_it_cannot_obey(run, gateway, monkeypatch):
    gateway(Scripted(text="a\x1b[31mb\x9b日本", chunk_chars=1))
    monkeypatch.setattr("trimtab.cli.call.stdout_is_terminal", lambda: True)
    assert run("call", "m", "hi").out == "a␛[31mb\\x9b日本\n"


def test_nobody_there(run, place, monkeypatch):
    monkeypatch.setenv("TRIMTAB_BASE_URL", "http://127.0.0.1:1/v1")
    ran = run("call", "m", "hi")
    assert (ran.code, ran.out) == (3, "")
    assert "trimtab up" in ran.err


@pytest.mark.parametrize(
    ("models", "meant"),
    [
        (["only"], "only"),
        (["a/x", "own/small", "a/y"], "own/small"),
        (["a/x", "own/small", "route/assistant"], "route/assistant"),
        (["route/one", "route/two", "own/small"], "own/small"),
    ],
)
def test_what_is_meant_where_no_model_is_named(run, gateway, models, meant):
    server = gateway(models=models)
    assert run("call", "hi").code == 0
    assert server.requests[-1].json()["model"] == meant


def test_where_several_models_could_be_meant_the_error_lists_them(run, gateway):
    gateway(models=["a/x", "a/y"])
    ran = run("call", "hi")
    assert (ran.code, ran.out) == (2, "")
    assert "a/x, a/y" in ran.err
    assert "TRIMTAB_MODEL" in ran.err


def test_where_no_model_answers_the_error_says_how_to_get_one(run, gateway):
    gateway(models=[])
    ran = run("call", "hi")
    assert ran.code == 3
    assert "OPENAI_API_KEY" in ran.err


@pytest.mark.parametrize(
    "words", [("m", "bad\udcffutf"), ("m", "hi", "--system", "\udcff"), ("\udcff", "hi")]
)
def test_bytes_that_are_no_utf8_are_refused(run, gateway, words):
    server = gateway()
    ran = run("call", *words)
    assert (ran.code, ran.out) == (2, "")
    assert "not UTF-8" in ran.err
    assert server.requests == []


def test_a_stdin_that_is_no_utf8_is_refused(run, gateway, monkeypatch):
    gateway()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"bad\xff"), "utf-8"))
    ran = run("call", "m", "-")
    assert ran.code == 2
    assert "not UTF-8" in ran.err
