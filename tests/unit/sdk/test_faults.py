"""The client pointed straight at a misbehaving server: every fault is an answer in full or an error, never less."""

import time

import pytest

from trimtab.sdk import ApiError, Client, GatewayUnreachable, HttpTransport
from trimtab.testing import FAULTS, FakeServer, Scripted
from trimtab.types import RetryPolicy

TEXT = "Paris is the capital of France, and has been for a long time."
ONCE = RetryPolicy(attempts=1)

# What only the gateway can know to be wrong: which model was meant, how long an answer may be.
UNTOLD = {"wrong_model", "empty_choices", "huge_body"}


def faults(lane):
    found = [FAULTS[name] for name in FAULTS]
    return [pytest.param(fault, id=fault.name) for fault in found if lane in fault.lanes]


def outcome(ask):
    """What a call came to: its text, or the error."""
    try:
        return ask()
    except ApiError as error:
        return error


def must_be_right(fault, came):
    if isinstance(came, ApiError):
        assert came.code
        assert str(came)
    else:
        assert fault.passes or not fault.expect or fault.name in UNTOLD, f"{fault.what} {came[-80:]!r}"


@pytest.mark.parametrize("fault", faults("stream"))
def test_no_fault_ends_a_stream_silently(fault):
    def ask():
        with client.stream("Capital of France?", model="fake-1", timeout_s=1) as reading:
            text = "".join(reading)
            assert reading.answer.text == text
            return text

    with FakeServer(script=TEXT, fault=fault) as server, Client(server.base_url, "", retry=ONCE) as client:
        started = time.monotonic()
        must_be_right(fault, outcome(ask))
        assert time.monotonic() - started < 8


@pytest.mark.parametrize("fault", faults("whole"))
def test_no_fault_gives_half_an_answer(fault):
    with FakeServer(script=TEXT, fault=fault) as server, Client(server.base_url, "", retry=ONCE) as client:
        came = outcome(lambda: client.generate("Capital of France?", model="fake-1", timeout_s=1).text)
        must_be_right(fault, came)


def test_tls_with_the_authority_named():
    with FakeServer(script=TEXT, tls=True) as server:
        transport = HttpTransport(server.base_url, ca_file=server.ca_file)
        with Client(transport=transport) as client:
            assert client.generate("x", model="fake-1").text == TEXT


def test_tls_that_nobody_vouches_for_is_refused_and_not_tried_again():
    with FakeServer(script=TEXT, tls=True) as server:
        with Client(server.base_url, "", retry=RetryPolicy(attempts=5, backoff_s=0.001)) as client:
            with pytest.raises(GatewayUnreachable) as failed:
                client.generate("x")
        assert failed.value.retryable is False
        assert server.requests == []


def test_several_choices_tools_and_embeddings_of_the_fake():
    script = [Scripted("one", others=(Scripted("two"),)), Scripted("")]
    with FakeServer(script=script) as server, Client(server.base_url, "", model="fake-1") as client:
        answer = client.generate("x", n=2)
        assert [c["message"]["content"] for c in answer.raw["choices"]] == ["one", "two"]
        assert answer.usage is not None
        assert len(client.embed(["a", "b"]).vectors) == 2
        assert client.models() == ["fake-1"]
