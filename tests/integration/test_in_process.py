"""The SDK without HTTP: calls made in the program itself, recorded as everywhere."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from rigs.house import House, until
from trimtab.sdk import ApiError, AsyncClient, Client, StreamBroken, Tracer
from trimtab.serve import in_process, open_local
from trimtab.storage import CallQuery
from trimtab.testing import FakeServer, Pace, Script, Scripted
from trimtab.types import ConfigError, RetryPolicy, new_id

CONFIG = """
[providers.openai]
base_url = "{url}"
api_key = "sk-upstream"
models = ["gpt-4o"]
[access]
open = false
[own]
enabled = false
"""


@pytest.fixture
def upstream():
    with FakeServer() as server:
        yield server


@pytest.fixture
def config(tmp_path, upstream):
    file = tmp_path / "trimtab.toml"
    file.write_text(CONFIG.format(url=upstream.base_url))
    return file


@pytest.fixture
def make(config, tmp_path):
    def client(**options):
        transport = in_process(config, data=tmp_path / "data", **options)
        return Client(transport=transport, model="openai/gpt-4o", retry=RetryPolicy(attempts=1))

    return client


def stored(tmp_path):
    with open_local(tmp_path / "data") as local:
        return local.calls.find(CallQuery(), payload=True)


def test_every_kind_of_request_and_all_of_it_stored_at_the_end(make, tmp_path):
    with make() as client:
        answer = client.generate("one")
        with client.stream("two") as pieces:
            assert "".join(pieces) == "two"
        assert [a.text for a in client.batch(["three", "four"])] == ["three", "four"]
        assert len(client.embed(["a", "b"]).vectors) == 2
        assert "openai/gpt-4o" in client.models()
        client.feedback(answer, score=1, name="thumbs")
        client.feedback(pieces.answer.raw["id"], score=0, name="by-response")
    assert answer.text == "one"
    assert answer.cost_nusd > 0
    assert list((tmp_path / "data" / "log").glob("*.log")) == []
    calls = stored(tmp_path)
    assert [call.state for call in calls] == ["ok"] * 5
    given = {f.name for call in calls for f in call.feedback}
    assert given == {"thumbs", "by-response"}
    [mine] = [call for call in calls if call.id == answer.call_id]
    assert [f.score for f in mine.feedback if f.name == "thumbs"] == [1.0]
    assert mine.opened.client == "trimtab-in-process"


def test_errors_are_the_gateways(make):
    with make() as client:
        with pytest.raises(ApiError) as caught:
            client.generate("x", model="nobody/m")
        assert (caught.value.code, caught.value.status) == ("model_not_found", 404)
        with pytest.raises(ApiError, match="`user` must be a text") as caught:
            client.generate("x", user=7)
        assert caught.value.code == "invalid_request"


def test_a_broken_stream_raises_and_one_that_is_left_is_cancelled(make, upstream, tmp_path):
    with make() as client:
        answers = [
            Scripted("a b c d e f", fault="reset_mid_reply"),
            Scripted("a b c d", pace=Pace(between_s=0.05)),
        ]
        upstream._script = Script(answers)
        with pytest.raises(StreamBroken):
            list(client.stream("x"))
        with client.stream("y") as pieces:
            next(pieces)
        until(lambda: not upstream.in_flight, "the upstream connection is closed", 5)
    assert sorted(call.state for call in stored(tmp_path)) == ["cancelled", "error"]


def test_async_and_twice(config, tmp_path):
    async def main():
        transport = in_process(config, data=tmp_path / "data")
        for _ in range(2):
            async with AsyncClient(transport=transport, model="openai/gpt-4o") as client:
                await asyncio.gather(*(client.generate(str(n)) for n in range(20)))

    asyncio.run(main())
    assert len(stored(tmp_path)) == 40


def test_spans_go_to_the_same_log(config, tmp_path):
    tracer = Tracer(transport=in_process(config, data=tmp_path / "data"))
    with tracer.span("work"):
        pass
    assert tracer.close().accepted == 1


def test_nothing_is_opened_before_the_first_call(tmp_path):
    client = Client(transport=in_process(tmp_path / "nowhere.toml", data=tmp_path / "data"))
    assert not (tmp_path / "data").exists()
    with pytest.raises(ConfigError, match="no such file"):
        client.generate("x", model="openai/gpt-4o")
    client.close()


def test_a_killed_program_leaves_its_calls_to_the_next(config, tmp_path):
    program = (
        "import os, signal\n"
        "from trimtab import Client\n"
        "from trimtab.serve import in_process\n"
        f"client = Client(transport=in_process({str(config)!r}, data='data'), model='openai/gpt-4o')\n"
        "for n in range(3): client.generate(str(n))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=False)
    assert done.returncode == -signal.SIGKILL
    assert [call.state for call in stored(tmp_path)] == ["ok"] * 3


def test_a_program_that_just_ends_stores_its_calls(config, tmp_path):
    program = (
        "from trimtab import Client\n"
        "from trimtab.serve import in_process\n"
        f"client = Client(transport=in_process({str(config)!r}, data='data'), model='openai/gpt-4o')\n"
        "client.generate('one')\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, env=dict(os.environ))
    assert list((tmp_path / "data" / "log").glob("*.log")) == []
    assert len(stored(tmp_path)) == 1


def test_beside_a_running_trimtab_its_recorder_stores_the_calls(upstream, tmp_path):
    with House(tmp_path, upstream.base_url) as house:
        transport = in_process(tmp_path / "trimtab.toml", data=house.data)
        with Client(transport=transport, model="openai/gpt-4o") as client:
            call_id = client.generate("from inside").call_id
        until(lambda: house.admin(f"/api/v1/calls/{call_id}")[0] == 200, "the call is stored")
        assert house.admin(f"/api/v1/calls/{new_id()}")[0] == 404
