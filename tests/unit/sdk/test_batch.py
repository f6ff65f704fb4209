"""Batches against a real gateway: order, failures as data, resuming, memory, interrupts."""

import asyncio
import json
import subprocess
import sys
import threading
import time

import pytest
from sdk_gateway import Gateway, chat, error

from rigs.gateway import POLICY, GatewayRig, fake
from trimtab.sdk import Answer, AsyncClient, Client, Failure, GatewayUnreachable, ResumeError
from trimtab.testing import FakeServer, Scripted
from trimtab.types import RetryPolicy, Snapshot

FAST = RetryPolicy(attempts=2, backoff_s=0.001)


class Upstream:
    """Echoes, fails for prompts that say so, and counts how many it answers at once."""

    def __init__(self):
        self.lock = threading.Lock()
        self.asked = []

    def __call__(self, ask):
        text = ask.last_message("user")
        with self.lock:
            self.asked.append(text)
        if text.startswith("fail"):
            return Scripted(status=400, error="no such thing")
        if text.startswith("busy"):
            return Scripted(status=503, error="later")
        return Scripted(f"re: {text}")


@pytest.fixture
def upstream():
    return Upstream()


@pytest.fixture
def gateway(tmp_path, upstream):
    with FakeServer(script=upstream) as server:
        snapshot = Snapshot(
            generation=1, policy=POLICY, providers=(fake("openai", server.base_url, models=("gpt-4o",)),)
        )
        with GatewayRig(tmp_path / "gateway", snapshot) as rig:
            rig.upstream = server
            yield rig


@pytest.fixture
def client(gateway):
    with Client(gateway.url, model="openai/gpt-4o", retry=FAST) as client:
        yield client


def test_answers_and_failures_in_the_order_of_the_prompts(client):
    prompts = [f"{'fail' if n % 5 == 3 else 'p'}-{n}" for n in range(40)]
    batch = client.batch(prompts, concurrency=7, temperature=0)
    assert len(batch) == 40
    for prompt, result in zip(prompts, batch, strict=True):
        if prompt.startswith("fail"):
            assert isinstance(result, Failure)
            assert (result.code, result.status, result.retryable) == ("invalid_request_error", 400, False)
            assert result.attempts == 1
            assert result.call_id
        else:
            assert isinstance(result, Answer)
            assert result.text == f"re: {prompt}"
    assert [result.text for result in batch.answers] == [f"re: {p}" for p in prompts if p[0] == "p"]
    assert list(batch.failures) == [3, 8, 13, 18, 23, 28, 33, 38]
    report = batch.report
    assert (report.total, report.asked, report.answered, report.failed, report.skipped) == (40, 40, 32, 8, 0)
    assert report.failures == {"invalid_request_error": 8}
    assert report.retryable == 0
    assert report.input_tokens > 0
    assert report.cost_nusd == sum(answer.cost_nusd for answer in batch.answers) > 0
    assert report.unpriced == 0
    assert "32 answered, 8 failed (invalid_request_error 8)" in str(report)
    with pytest.raises(Exception, match="invalid_request_error"):
        batch.raise_for_failures()


def test_a_failure_says_how_often_it_was_tried_and_that_it_may_pass(client):
    [failure] = client.batch(["busy"])
    assert (failure.code, failure.retryable, failure.attempts) == ("provider_unavailable", True, 2)
    assert failure.as_error().retryable


def test_no_gateway_is_a_failure_too():
    with Client("http://127.0.0.1:1/v1", retry=FAST) as client:
        batch = client.batch(["a", "b"])
    assert {failure.code for failure in batch} == {GatewayUnreachable.code}
    assert batch.report.retryable == 2


def test_never_more_than_so_many_at_a_time(upstream, gateway, client):
    gate = threading.Event()
    most = 0

    def slow(ask):
        nonlocal most
        most = max(most, gateway.upstream.in_flight + 1)
        gate.wait(0.02)
        return upstream(ask)

    with FakeServer(script=lambda ask: slow(ask)) as server:
        gateway.upstream = server
        with Gateway([chat()]) as stand_in, Client(stand_in.url, retry=FAST) as asking:
            running = peak = 0
            lock = threading.Lock()
            play = stand_in.plays[0]

            def watched(door, asked):
                nonlocal running, peak
                with lock:
                    running += 1
                    peak = max(peak, running)
                time.sleep(0.01)
                with lock:
                    running -= 1
                play(door, asked)

            stand_in.plays[0] = watched
            asking.batch([str(n) for n in range(60)], concurrency=5)
    assert peak == 5


def test_prompts_may_be_messages_or_requests_of_their_own(gateway, client, upstream):
    batch = client.batch(
        [
            [{"role": "user", "content": "one"}],
            {"prompt": "two", "temperature": 1.5},
            {"messages": [{"role": "user", "content": "three"}], "model": "nobody/m"},
        ],
        system="Be brief.",
        temperature=0,
    )
    assert [batch[0].text, batch[1].text] == ["re: one", "re: two"]
    assert batch[2].code == "model_not_found"
    sent = {json.loads(r.body)["messages"][-1]["content"]: r.json() for r in gateway.upstream.requests}
    assert (sent["one"]["temperature"], sent["two"]["temperature"]) == (0, 1.5)
    assert sent["one"]["messages"][0] == {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize(
    "bad", [None, 7, {"temperature": 1}, {"prompt": object()}, "\ud800", {"prompt": "x", "stream": True}]
)
def test_a_prompt_that_cannot_be_sent_is_a_failure_among_the_others(client, bad):
    batch = client.batch(["good", bad, "better"])
    assert [type(result) for result in batch] == [Answer, Failure, Answer]
    assert (batch[1].code, batch[1].attempts, batch[1].retryable) == ("invalid_request", 0, False)


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"prompts": "one text"}, TypeError),
        ({"prompts": ["a"], "concurrency": 0}, ValueError),
        ({"prompts": ["a"], "stream": True}, ValueError),
        ({"prompts": ["a"], "timeout_s": "soon"}, TypeError),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused_at_once(client, arguments, kind):
    with pytest.raises(kind):
        client.batch(**arguments)


def test_no_prompts_at_all(client, tmp_path):
    batch = client.batch([], resume=tmp_path / "r.jsonl")
    assert list(batch) == []
    assert batch.report.total == 0


# --- the iterator -------------------------------------------------------------------------------------------


def test_items_come_as_they_end_and_prompts_are_taken_no_faster(client):
    taken = 0

    def prompts():
        nonlocal taken
        while True:  # never ends: whoever takes it whole never returns
            taken += 1
            yield f"p-{taken - 1}"

    seen = {}
    with client.batch_iter(prompts(), concurrency=4, progress=False) as run:
        for item in run:
            seen[item.index] = item.result.text
            assert taken <= len(seen) + 4 + 4
            if len(seen) == 50:
                break
    assert all(text == f"re: p-{index}" for index, text in seen.items())
    assert run.report.answered == 50
    assert run.report.total is None


def test_prompts_are_taken_in_the_thread_that_iterates(client):
    threads = set()

    def prompts():
        for n in range(20):
            threads.add(threading.get_ident())
            yield str(n)

    assert len(list(client.batch_iter(prompts()))) == 20
    assert threads == {threading.get_ident()}


def test_an_error_of_the_prompts_themselves_goes_through(client):
    def prompts():
        yield "a"
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        client.batch(prompts())
    assert client.generate("still there").text == "re: still there"


def test_async_batches_take_async_prompts(gateway):
    async def prompts():
        for n in range(30):
            await asyncio.sleep(0.001 * (n % 3))
            yield f"p-{n}"

    async def main():
        async with AsyncClient(gateway.url, model="openai/gpt-4o", retry=FAST) as client:
            batch = await client.batch(prompts(), concurrency=5)
            run = client.batch_iter(["a", "fail"], progress=False)
            items = [item async for item in run]
            async with client.batch_iter(prompts(), concurrency=3) as left:
                async for _ in left:
                    break
            return batch, items, run.report

    batch, items, report = asyncio.run(main())
    assert [answer.text for answer in batch] == [f"re: p-{n}" for n in range(30)]
    assert batch.report.total == 30
    assert {item.index for item in items} == {0, 1}
    assert (report.answered, report.failed) == (1, 1)


# --- progress -----------------------------------------------------------------------------------------------


def test_progress_goes_to_a_function(client):
    reports = []
    client.batch([str(n) for n in range(10)], progress=reports.append)
    assert [report.done for report in reports] == list(range(1, 11))
    assert {report.total for report in reports} == {10}


def test_without_a_terminal_nothing_is_shown_and_rich_is_not_loaded(gateway):
    program = (
        "import sys; from trimtab import Client; "
        f"print(Client({gateway.url!r}, model='openai/gpt-4o').batch(['a', 'b'])[1].text, 'rich' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("re: b False\n", "")


def test_on_a_terminal_there_is_a_bar(gateway):
    program = (
        "from trimtab import Client; "
        f"Client({gateway.url!r}, model='openai/gpt-4o').batch(['a', 'b', 'fail'])"
    )
    done = subprocess.run(
        ["script", "-qec", f'{sys.executable} -c "{program}" >/dev/null', "/dev/null"],
        capture_output=True,
        text=True,
        check=True,
        env={"TERM": "xterm", "COLUMNS": "100", "PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
    )
    assert "3/3" in done.stdout
    assert "2 answered, 1 failed" in done.stdout


# --- resuming -----------------------------------------------------------------------------------------------


def test_what_is_answered_is_not_asked_again(client, upstream, tmp_path):
    file = tmp_path / "r.jsonl"
    first = client.batch(["a", "fail", "c"], resume=file)
    upstream.asked.clear()
    second = client.batch(["a", "fail", "c", "d"], resume=file)
    assert sorted(upstream.asked) == ["d", "fail"]
    assert (second.report.skipped, second.report.answered, second.report.failed) == (2, 1, 1)
    assert second[0] == first[0]
    assert second[2] == first[2]
    assert second[3].text == "re: d"
    upstream.asked.clear()
    assert [answer.text for answer in client.batch(iter(["a"]), resume=file)] == ["re: a"]
    assert upstream.asked == []


@pytest.mark.parametrize(
    "changed", [{"prompts": ["a", "B"]}, {"temperature": 1}, {"model": "openai/gpt-4o-mini"}]
)
@pytest.mark.parametrize("lazily", [False, True])
def test_other_prompts_model_or_parameters_are_refused(client, upstream, tmp_path, changed, lazily):
    file = tmp_path / "r.jsonl"
    given = {"prompts": ["a", "b"], "temperature": 0}
    client.batch(**given, resume=file)
    before = file.read_bytes()
    upstream.asked.clear()
    given |= changed
    if lazily:
        given["prompts"] = iter(given["prompts"])
    with pytest.raises(ResumeError, match="the answer to another prompt in place"):
        client.batch(**given, resume=file)
    assert file.read_bytes().startswith(before)
    if not lazily:
        assert upstream.asked == []


@pytest.mark.parametrize("cut", [1, 10, 200])
def test_a_torn_last_line_is_taken_away(client, upstream, tmp_path, cut):
    file = tmp_path / "r.jsonl"
    client.batch(["a", "b", "c"], concurrency=1, resume=file)
    file.write_bytes(file.read_bytes()[:-cut])
    upstream.asked.clear()
    batch = client.batch(["a", "b", "c"], concurrency=1, resume=file)
    assert upstream.asked == ["c"]
    assert batch.report.skipped == 2
    assert len(file.read_bytes().splitlines()) == 4
    assert all(json.loads(line) for line in file.read_bytes().splitlines())


def test_a_torn_header_is_written_anew(client, tmp_path):
    file = tmp_path / "r.jsonl"
    file.write_bytes(b'{"trimtab')
    assert client.batch(["a"], resume=file).report.answered == 1
    assert client.batch(["a"], resume=file).report.skipped == 1


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"my notes\n", "none that a batch wrote"),
        (b"my notes", "none that a batch wrote"),
        (b'{"trimtab_batch": 9}\n', "format 9"),
        (b'{"trimtab_batch":1}\nnonsense\n', "damaged in line 2"),
        (b'{"trimtab_batch":1}\n{"index":100000000}\n', "it is damaged"),
    ],
)
def test_a_file_that_is_no_resume_file_is_refused_and_kept(client, upstream, tmp_path, content, why):
    file = tmp_path / "r.jsonl"
    file.write_bytes(content)
    with pytest.raises(ResumeError, match=why):
        client.batch(["a"], resume=file)
    assert file.read_bytes() == content
    assert upstream.asked == []


def test_a_file_that_cannot_be_opened_is_an_error_that_says_so(client, tmp_path):
    with pytest.raises(ResumeError, match="cannot be opened: No such file"):
        client.batch(["a"], resume=tmp_path / "nowhere" / "r.jsonl")


def test_two_batches_never_share_a_file(client, tmp_path):
    file = tmp_path / "r.jsonl"
    with client.batch_iter(["a", "b"], resume=file, progress=False) as run:
        next(run)
        with pytest.raises(ResumeError, match="in use by another batch"):
            client.batch(["a"], resume=file)
    assert client.batch(["a", "b"], resume=file).report.total == 2


def test_what_is_no_regular_file_is_refused(client):
    with pytest.raises(ResumeError, match="no regular file"):
        client.batch(["a"], resume="/dev/full")


def test_a_full_disk_stops_the_batch_and_leaves_the_file_sound(gateway, client, tmp_path):
    program = (
        "import resource, sys; from trimtab import Client; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); "
        f"Client({gateway.url!r}, model='openai/gpt-4o').batch([f'p-{{n}}' for n in range(9)], resume='r.jsonl')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert "ResumeError: resume file 'r.jsonl' cannot be written: " in done.stderr
    lines = (tmp_path / "r.jsonl").read_bytes().splitlines()
    assert len(lines) > 1
    batch = client.batch([f"p-{n}" for n in range(9)], resume=tmp_path / "r.jsonl")
    assert (batch.report.skipped, batch.report.answered) == (len(lines) - 1, 10 - len(lines))


def test_leaving_early_leaves_a_file_to_go_on_from(client, upstream, tmp_path):
    file = tmp_path / "r.jsonl"
    prompts = [f"p-{n}" for n in range(30)]
    with client.batch_iter(prompts, resume=file, concurrency=2, progress=False) as run:
        for _ in range(10):
            next(run)
    batch = client.batch(prompts, resume=file)
    assert batch.report.skipped >= 10
    assert [answer.text for answer in batch] == [f"re: {p}" for p in prompts]


def test_rate_limits_are_waited_out():
    plays = [error(429, "rate_limited", retry_after="0"), chat("in time")]
    with Gateway(plays) as gateway, Client(gateway.url, retry=FAST) as client:
        assert [answer.text for answer in client.batch(["a"])] == ["in time"]


# --- embeddings ---------------------------------------------------------------------------------------------


def test_long_lists_are_embedded_in_chunks_and_in_order(gateway, client):
    texts = [f"text {n}" for n in range(57)]
    found = client.embed(iter(texts), chunk=10, concurrency=3)
    asked = [r.json()["input"] for r in gateway.upstream.requests]
    assert sorted(map(len, asked)) == [7, 10, 10, 10, 10, 10]
    assert sorted(text for part in asked for text in part) == sorted(texts)
    assert len(found.vectors) == 57
    assert len(set(found.call_ids)) == 6
    alone = client.embed(texts[31]).vectors[0]
    assert found.vectors[31] == alone
    assert found.usage.input_tokens == sum(client.embed(text).usage.input_tokens for text in texts)


def test_long_texts_make_small_chunks(gateway, client):
    client.embed(["x" * 150_000] * 3)
    assert [len(r.json()["input"]) for r in gateway.upstream.requests] == [1, 1, 1]


def test_one_chunk_that_fails_fails_the_call():
    with Client("http://127.0.0.1:1/v1", retry=FAST) as client:
        with pytest.raises(GatewayUnreachable):
            client.embed(["a"] * 30, chunk=5)
        with pytest.raises(ValueError, match="chunk"):
            client.embed(["a"], chunk=0)
