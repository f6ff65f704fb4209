"""A process's core: generations, models, feedback, closing."""

import asyncio
import gc
import math

import msgspec
import pytest

from rigs.pipeline import Desk, Events, MemoryCounts, MemoryLog, done
from trimtab import plugins
from trimtab.access import Caller
from trimtab.ledger import payload_policies
from trimtab.pipeline import Core, State, feedback_record
from trimtab.testing import FrozenClock
from trimtab.types import ConfigError, ProviderSpec, Snapshot, id_time_us
from trimtab.types.errors import ConnectFailed, LedgerUnavailable


@pytest.fixture
def core(tmp_path) -> Core:
    return Core(
        log=MemoryLog(),
        counts=MemoryCounts(),
        keep=payload_policies(),
        clock=FrozenClock(),
        run_dir=tmp_path,
    )


def test_before_the_first_snapshot_there_is_no_state(core):
    assert core.generation == 0
    with pytest.raises(AssertionError, match="snapshot"):
        _ = core.state


def test_a_snapshot_is_obeyed_and_one_that_cannot_be_leaves_the_old_in_force(core):
    fake = ProviderSpec(name="f", kind="fake", models=("x",))
    core.apply(Snapshot(generation=3, providers=(fake,)))
    assert core.generation == 3
    with pytest.raises(ConfigError):
        core.apply(Snapshot(generation=4, providers=(ProviderSpec(name="g", kind="no-such-kind"),)))
    assert core.generation == 3
    assert core.state.served() == [("f/x", "f")]
    compiled = core.compile(Snapshot(generation=5, providers=(fake,)))
    assert core.generation == 3, "compiling is not obeying"
    core.swap(compiled)
    assert core.generation == 5


def test_a_generation_looks_up_each_kind_once_in_a_life_and_leaves_no_cycle_behind(core, monkeypatch):
    """Forty providers took 0.4 s of a worker's only interpreter at each reload, and the last ones' remains stayed."""
    looked = []
    find = plugins.entry_points
    monkeypatch.setattr(plugins, "entry_points", lambda **group: looked.append(group) or find(**group))

    def of(generation):
        keys = f"key-{generation}"
        rows = [ProviderSpec(name=f"p{n}", base_url="http://h/v1", api_key=keys) for n in range(40)]
        return Snapshot(generation=generation, providers=tuple(rows))

    async def main():
        core.apply(of(1))
        gc.collect()
        gc.disable()
        try:
            core.apply(of(2))
            await core._retired.close_unused()
            return gc.collect()
        finally:
            gc.enable()

    assert asyncio.run(main()) < 40
    assert len(looked) == 1


def test_calls_under_way_keep_the_generation_they_began_with():
    desk = Desk(Events(turns=[[0.05, done()]]))

    async def main():
        from rigs.pipeline import ask

        call = desk.core.call(ask())
        desk.core.swap(State(msgspec.structs.replace(desk.snapshot, generation=9), desk.make))
        assert call.state.generation == 1
        assert desk.core.call(ask()).state.generation == 9

    asyncio.run(main())


def test_providers_that_were_replaced_are_closed_in_the_end_and_kept_ones_once():
    a, b, c = (Events(name=name) for name in "abc")
    desk = Desk(a, b)
    desk.providers = {"a": a, "b": c}
    changed = msgspec.structs.replace(
        desk.snapshot,
        generation=2,
        providers=(ProviderSpec(name="a"), ProviderSpec(name="b", api_key="new")),
    )
    desk.core.swap(State(changed, desk.make, desk.core.state))
    assert not b.closed, "calls under way may still use it"
    asyncio.run(desk.core.aclose())
    assert (a.closed, b.closed, c.closed) == (True, True, True)


def test_a_replaced_provider_is_closed_once_its_last_call_is_over_whatever_others_run():
    """Under load there is always some call: what was replaced must not wait for a moment without any."""
    long, short = Events(name="a", turns=[[0.05, done()]]), Events(name="b", turns=[[5, done()]])
    desk = Desk(long, short)

    def rotate(generation, **fresh):
        desk.providers |= fresh
        rows = tuple(ProviderSpec(name=name, api_key=f"{generation}") for name in desk.providers)
        snapshot = msgspec.structs.replace(desk.snapshot, generation=generation, providers=rows)
        desk.core.swap(State(snapshot, desk.make, desk.core.state))

    async def main():
        retired = desk.core._retired
        first = asyncio.create_task(desk.whole("a/m"))
        await asyncio.sleep(0)
        rotate(2, a=Events(name="a", turns=[[0.2, done()]]))
        second = asyncio.create_task(desk.whole("a/m"))
        await asyncio.sleep(0)
        between = desk.providers["a"]
        rotate(3, a=Events(name="a", turns=[[5, done()]]))
        third = asyncio.create_task(desk.whole("a/m"))
        await asyncio.sleep(0)
        await retired.close_unused()
        assert not long.closed
        await first
        await retired.close_unused()
        assert (long.closed, between.closed) == (True, False)
        await second
        await retired.close_unused()
        assert (between.closed, desk.providers["a"].closed) == (True, False)
        third.cancel()
        await asyncio.gather(third, return_exceptions=True)

    asyncio.run(main())


def test_models_are_those_listed_and_those_the_open_providers_name():
    desk = Desk(
        Events(name="a", model_names=["asked?"]),
        Events(name="b", model_names=["z", "y"]),
        Events(name="c", model_names=ConnectFailed("down")),
        specs={"a": {"models": ("m",)}},
    )
    assert asyncio.run(desk.core.models()) == [("a/m", "a"), ("b/z", "b"), ("b/y", "b")]


def test_a_provider_that_does_not_answer_does_not_keep_the_others_models_back(monkeypatch):
    monkeypatch.setattr("trimtab.pipeline.core._MODELS_S", 0.05)

    class Stalled(Events):
        async def models(self):
            await asyncio.sleep(60)

    desk = Desk(Stalled(name="a"), Stalled(name="b"), Events(name="c", model_names=["x"]))

    async def main():
        async with asyncio.timeout(5):
            return await desk.core.models()

    assert asyncio.run(main()) == [("c/x", "c")]


def test_feedback_is_recorded_and_counted():
    desk = Desk(Events(turns=[done()]))
    record = feedback_record(
        Caller("key_1", "acme"), 77, {"call_id": "call-1", "score": 1, "comment": "good", "name": ""}
    )
    asyncio.run(desk.core.feedback(record))
    assert desk.log.records == [record]
    assert desk.counts.by_name["feedback"] == 1
    assert (record.call_id, record.at_us, record.project, record.key) == ("call-1", 77, "acme", "key_1")
    assert (record.name, record.score, record.comment) == ("rating", 1.0, "good")
    assert isinstance(record.score, float)
    assert (record.value, record.correction, record.user) == ("", "", "")
    assert id_time_us(record.id) > 0


def test_feedback_without_a_score_has_none_and_not_zero():
    fields = {"call_id": "c", "name": "thumbs", "value": "up", "correction": "x", "user": "u", "score": None}
    record = feedback_record(Caller(), 1, fields)
    assert record.score is None
    assert (record.name, record.value, record.correction, record.user) == ("thumbs", "up", "x", "u")
    assert math.isclose(feedback_record(Caller(), 1, {"call_id": "c", "score": 0}).score, 0.0)


def test_feedback_that_cannot_be_recorded_is_refused_and_not_counted_as_given():
    desk = Desk(Events())
    desk.log.broken = lambda record: True
    with pytest.raises(LedgerUnavailable):
        asyncio.run(desk.core.feedback(feedback_record(Caller(), 1, {"call_id": "c"})))
    assert desk.counts.by_name["unrecorded_feedback"] == 1
    assert desk.counts.by_name["feedback"] == 0


def test_a_payload_policy_that_there_is_not_is_refused(core):
    with pytest.raises(ConfigError):
        core.keep("masked")
