"""The table of faults: complete, consistent, and each fault changes what its name says."""

import msgspec
import pytest

from trimtab.testing import FAULTS, Ask, Fault, Scale, Scripted
from trimtab.testing.faults import find_fault
from trimtab.testing.wire.http import scripted_reply
from trimtab.testing.wire.plan import End, Pace, Send, Wait
from trimtab.types.errors import all_errors

ERRORS = {e.code: e for e in all_errors()}
SCALE = Scale(huge_bytes=4096, stall_s=7.0)
CASES = [
    pytest.param(f, lane, id=f"{f.name}-{lane}") for f in FAULTS.values() if f.strike for lane in f.lanes
]


def healthy(lane, text="one two three"):
    body = {"model": "m", "stream": lane == "stream", "messages": []}
    return scripted_reply(Ask(kind="chat", body=body), Scripted(text))


def data_of(steps):
    return b"".join(s.data for s in steps if isinstance(s, Send))


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_every_fault_states_what_must_be_made_of_it(fault):
    assert FAULTS[fault.name] is fault
    assert fault.what.endswith(".")
    assert "\n" not in fault.what
    assert set(fault.expect) <= set(ERRORS)
    assert bool(fault.expect) or fault.passes
    assert (fault.strikes == "nowhere") == (not fault.expect)
    ways = (fault.door != "open", fault.change is not None, fault.strike is not None)
    assert sum(ways) == 1
    if fault.door != "open":
        assert fault.strikes == "connect"


def test_there_are_at_least_the_faults_that_a_gateway_is_measured_by():
    assert len(FAULTS) >= 40
    assert {f.strikes for f in FAULTS.values()} == {
        "connect", "before_head", "before_content", "after_content", "nowhere",
    }  # fmt: skip


def test_the_table_cannot_be_changed():
    with pytest.raises(TypeError):
        FAULTS["mine"] = FAULTS["drip"]


def test_an_unknown_fault_is_refused_with_the_known_names():
    with pytest.raises(ValueError, match=r"no fault 'reset'.*reset_before_head"):
        find_fault("reset")
    assert find_fault("") is None


def test_rescue_depends_on_the_lane_only_after_content():
    assert FAULTS["stall_mid_reply"].rescuable("whole")
    assert not FAULTS["stall_mid_reply"].rescuable("stream")
    assert FAULTS["error_event"].rescuable("stream")
    assert not FAULTS["bad_request"].rescuable("whole")


@pytest.mark.parametrize(("fault", "lane"), CASES)
def test_a_strike_shows_content_exactly_when_it_says_so(fault: Fault, lane):
    sent = data_of(fault.strike(healthy(lane), SCALE))
    if lane == "stream":
        shown = b'"content":"one"' in sent
        assert shown == (fault.strikes in ("after_content", "nowhere") or fault.name == "malformed_event")
    if fault.strikes == "before_head":
        assert b"\r\n\r\n" not in sent.split(b"<!DOCTYPE")[0]


@pytest.mark.parametrize("name", [n for n in FAULTS if n.startswith("stall_") and FAULTS[n].strike])
def test_stalls_last_as_long_as_told_and_then_close(name):
    steps = FAULTS[name].strike(healthy(FAULTS[name].lanes[0]), SCALE)
    assert steps[-2:] == [Wait(7.0), End("close")]


def test_huge_replies_have_the_size_told_and_are_valid():
    body = data_of(FAULTS["huge_body"].strike(healthy("whole"), SCALE)).partition(b"\r\n\r\n")[2]
    content = msgspec.json.decode(body)["choices"][0]["message"]["content"]
    assert content == "x" * 4096 + "one two three"
    stream = data_of(FAULTS["huge_line"].strike(healthy("stream"), SCALE))
    assert max(map(len, stream.splitlines())) > 4096
    assert b"data: [DONE]" in stream


def test_drip_sends_the_healthy_bytes():
    reply = healthy("stream")
    steps = FAULTS["drip"].strike(reply, SCALE)
    assert data_of(steps) == data_of(reply.steps())
    assert max(len(s.data) for s in steps if isinstance(s, Send)) == 1


@pytest.mark.parametrize("piece_bytes", [0, 1, 7, 10_000])
def test_pace_changes_when_but_never_what(piece_bytes):
    reply = healthy("stream")
    pace = Pace(before_head_s=0.1, before_first_s=0.2, between_s=0.3, piece_bytes=piece_bytes)
    paced = msgspec.structs.replace(reply, pace=pace)
    assert data_of(paced.steps()) == data_of(reply.steps())
    waits = [s.seconds for s in paced.steps() if isinstance(s, Wait)]
    assert waits[:1] == [0.1]
    assert waits.count(0.2) == 1
