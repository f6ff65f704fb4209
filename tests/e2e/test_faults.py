"""Every way for a provider to misbehave, against the real gateway: rescued, or an explicit error; recorded so."""

import pytest

from rigs.gateway import POLICY, GatewayRig, fake
from rigs.strict_client import ask
from trimtab.testing import FAULTS, FakeServer, Fault, Scale, Scripted
from trimtab.types import Release, RouteSpec, Snapshot, WeightedRelease

SCALE = Scale(
    stall_s=3.0, drip_s=0.001, drip_bytes=16, settle_s=0.02, retry_after_s=0.05, huge_bytes=6_000_000
)
WORDS = ["The ", "capital ", "of ", "France ", "is ", "Paris."]
TEXT = "".join(WORDS)
HEALTHY = "Rescued by the fallback."


CASES = [(fault, lane) for fault in FAULTS.values() for lane in fault.lanes]
IDS = [f"{fault.name}-{lane}" for fault, lane in CASES]


@pytest.mark.parametrize(("fault", "lane"), CASES, ids=IDS)
def test_alone_each_fault_is_a_right_answer_or_an_explicit_error(fault: Fault, lane: str, tmp_path) -> None:
    with FakeServer(script=Scripted(text=WORDS), fault=fault, scale=SCALE) as bad:
        snapshot = Snapshot(generation=1, policy=POLICY, providers=(fake("bad", bad.base_url),))
        with GatewayRig(tmp_path, snapshot) as gateway:
            answer = ask(gateway.port, "bad/fake-1", stream=lane == "stream")
            [(opened, closed)] = gateway.calls(1)
    assert opened.id == answer.call_id
    if fault.passes and answer.status == 200 and not answer.error:
        assert answer.done
        assert answer.terminated
        assert TEXT in answer.text or fault.name == "duplicate_chunk"
        assert closed.state == "ok"
        assert closed.usage.output_tokens > 0
        assert closed.usage.estimated == (fault.name == "missing_usage")
        if fault.name == "wrong_model":
            assert closed.model_served not in ("", "fake-1")
        return
    if fault.times:
        assert (answer.status, answer.done, answer.error) == (200, True, ""), "a retry saves the call"
        assert TEXT in answer.text
        assert [a.error_code for a in closed.attempts] == [fault.expect[0], ""]
        return
    # An explicit error: a status, or an error event with no end marker and no end of the body.
    assert answer.error in fault.expect, answer
    assert not answer.done
    if answer.status == 200:
        assert not answer.terminated, "a broken stream must not look complete"
    assert closed.state == "error"
    assert closed.error_code == answer.error
    assert closed.attempts[-1].error_code in (answer.error, "")


@pytest.mark.parametrize(("fault", "lane"), CASES, ids=IDS)
def test_with_a_healthy_fallback_whatever_strikes_before_content_is_rescued(
    fault: Fault, lane: str, tmp_path
) -> None:
    release = Release(model="bad/fake-1", fallbacks=("good/fake-1",))
    route = RouteSpec(name="chat", channels={"production": (WeightedRelease(release=release.id()),)})
    with (
        FakeServer(script=Scripted(text=WORDS), fault=fault, scale=SCALE) as bad,
        FakeServer(script=Scripted(text=HEALTHY)) as good,
    ):
        snapshot = Snapshot(
            generation=1,
            policy=POLICY,
            providers=(fake("bad", bad.base_url), fake("good", good.base_url)),
            routes=(route,),
            releases={release.id(): release},
        )
        with GatewayRig(tmp_path, snapshot) as gateway:
            answer = ask(gateway.port, "route/chat", stream=lane == "stream")
            [(opened, closed)] = gateway.calls(1)
    assert opened.release == release.id()
    if fault.rescuable(lane) and not fault.passes:
        assert (answer.status, answer.done, answer.error) == (200, True, ""), answer
        assert closed.state == "ok"
        if not fault.times:
            assert answer.text == HEALTHY, "nothing of the broken answer may remain"
            assert closed.model == "good/fake-1"
            assert closed.attempts[0].error_code in fault.expect
    elif answer.error:
        assert answer.error in fault.expect
        assert not answer.done
        assert closed.state == "error"
    else:
        assert answer.done
        assert TEXT in answer.text or answer.text == HEALTHY or fault.name == "duplicate_chunk"
