"""A batch whose process is killed, or interrupted, goes on where it was: nothing answered is asked again."""

import json
import signal
import subprocess
import sys
import threading
import time

import pytest

from rigs.gateway import POLICY, GatewayRig, fake
from trimtab.testing import FakeServer, Pace, Scripted
from trimtab.types import Snapshot

PROMPTS = 60
PROGRAM = f"""
import sys
from trimtab import Client
with Client(sys.argv[1], model="openai/gpt-4o") as client:
    batch = client.batch((f"p-{{n}}" for n in range({PROMPTS})), concurrency=4, resume="answers.jsonl")
assert [answer.text for answer in batch] == [f"re: p-{{n}}" for n in range({PROMPTS})], batch
print(batch.report.skipped, batch.report.answered)
"""


class Slow:
    """Echoes after a while, `prompt` times, then keeps everybody waiting; remembers what it was asked."""

    def __init__(self):
        self.asked = []
        self.prompt = 20
        self.lock = threading.Lock()

    def __call__(self, ask):
        with self.lock:
            self.asked.append(ask.last_message("user"))
            late = len(self.asked) > self.prompt
        # What is to be ended must not be over before.
        return Scripted(f"re: {ask.last_message('user')}", pace=Pace(before_head_s=60 if late else 0.02))


@pytest.fixture
def slow():
    return Slow()


@pytest.fixture
def gateway(tmp_path, slow):
    with FakeServer(script=slow) as server:
        provider = fake("openai", server.base_url, models=("gpt-4o",))
        with GatewayRig(
            tmp_path / "gateway", Snapshot(generation=1, policy=POLICY, providers=(provider,))
        ) as rig:
            yield rig


def start(gateway, folder):
    words = [sys.executable, "-c", PROGRAM, gateway.url]
    return subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def answered(folder):
    file = folder / "answers.jsonl"
    return max(file.read_bytes().count(b"\n") - 1, 0) if file.exists() else 0


def wait_for(met, process, what):
    until = time.monotonic() + 20
    while not met():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, what
        time.sleep(0.001)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_batch_that_was_ended_goes_on_where_it_was(gateway, slow, tmp_path, end):
    process = start(gateway, tmp_path)
    wait_for(lambda: answered(tmp_path) >= 10, process, "ten answers")
    process.send_signal(end)
    process.communicate(timeout=20)
    assert process.returncode == -end
    kept = [json.loads(line)["index"] for line in (tmp_path / "answers.jsonl").read_bytes().splitlines()[1:]]
    assert 10 <= len(kept) < PROMPTS
    with slow.lock:
        before, slow.asked, slow.prompt = slow.asked, [], PROMPTS
    assert len(before) <= len(kept) + 4
    again = start(gateway, tmp_path)
    out, errors = again.communicate(timeout=60)
    assert again.returncode == 0, errors
    assert out.split() == [str(len(kept)), str(PROMPTS - len(kept))]
    assert sorted(slow.asked) == sorted(f"p-{n}" for n in range(PROMPTS) if n not in kept)
