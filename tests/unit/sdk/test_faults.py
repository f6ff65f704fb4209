"""The client pointed straight at a misbehaving server: every fault is an answer in full or an error, never less."""

import time

import pytest

from trimtab.sdk import ApiError, Client, GatewayUnreachable, HttpTransport
from trimtab.testing import FAULTS, FakeServer, Scripted
from trimtab.types import RetryPolicy

TEXT = "Paris is the capital of France, and has been for a long time."
ONCE = RetryPolicy(attempts=1)

# What only the gateway can know to be wrong: which model was meant, and what a provider should have sent.
UNTOLD = {"wrong_model", "empty_choices"}


def faults(lane):
    return [
        pytest.param(fault, id=fault.name) for fault in map(FAULTS.__getitem__, FAULTS) if lane in fault.lanes
    ]


@pytest.mark.parametrize("fault", faults("stream"))
def test_no_fault_ends_a_stream_silently(fault):
    with FakeServer(script=TEXT, fault=fault) as server, Client(server.base_url, "", retry=ONCE) as client:
        started = time.monotonic()
        pieces = []
        try:
            with client.stream("Capital of France?", model="fake-1", timeout_s=1) as reading:
                for piece in reading:
                    pieces.append(piece)
                answer = reading.answer
        except ApiError as error:
            assert error.code
            assert str(error)
        else:
            assert answer.text == "".join(pieces)
            assert fault.passes or not fault.expect or fault.name in UNTOLD, f"{fault.what} {answer.text!r}"
        assert time.monotonic() - started < 8


@pytest.mark.parametrize("fault", faults("whole"))
def test_no_fault_gives_half_an_answer(fault):
    with FakeServer(script=TEXT, fault=fault) as server, Client(server.base_url, "", retry=ONCE) as client:
        try:
            answer = client.generate("Capital of France?", model="fake-1", timeout_s=1)
        except ApiError as error:
            assert error.code
        else:
            assert fault.passes or not fault.expect or fault.name in UNTOLD, f"{fault.what} {answer.text!r}"


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
