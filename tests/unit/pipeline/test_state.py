"""What a name means under a snapshot: models, routes, arms, targets, and what outlives a generation."""

from collections import Counter

import msgspec
import pytest

from rigs.pipeline import QUICK, Events
from trimtab.pipeline.state import _PLANS_KEPT, State
from trimtab.types import (
    ConfigError,
    Deadlines,
    ProviderSpec,
    Release,
    RouteSpec,
    Snapshot,
    TargetSpec,
    WeightedRelease,
)
from trimtab.types.errors import AmbiguousModel, CallerError, ModelNotFound


def spec(name: str, *models: str, **more) -> ProviderSpec:
    return ProviderSpec(name=name, models=models, **more)


def state(*specs: ProviderSpec, previous: State | None = None, **snapshot) -> State:
    def make(given: ProviderSpec):
        return Events(name=given.name)

    made = Snapshot(generation=snapshot.pop("generation", 1), providers=specs, policy=QUICK, **snapshot)
    return State(made, make, previous)


def models(plan) -> list[str]:
    return [model.model for model in plan.models]


# --- names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("a/x", "a/x"),
        ("a/x/y", "a/x/y"),
        ("b/anything", "b/anything"),
        ("x1", "a/x1"),
        ("unlisted", "b/unlisted"),
        ("meta-llama/llama-3", "b/meta-llama/llama-3"),
        ("fast", None),
    ],
)
def test_a_name_means_one_model(asked, meant):
    made = state(spec("a", "x1", "x2"), spec("b"), targets={"fast": (TargetSpec(provider="a", model="x1"),)})
    plan = made.resolve(asked, "")
    assert models(plan) == [meant or asked]
    assert plan.release == Release(model=meant or asked).id()
    assert (plan.route, plan.channel, plan.arm, plan.substituted) == ("", "", "", False)
    assert plan.defaults == {}
    [target] = plan.models[0].targets
    assert target.provider.name == ("a" if not meant or meant.startswith("a/") else "b")
    assert target.name == ("x1" if not meant else meant.split("/", 1)[1])
    assert target.label == f"{target.provider.name}/{target.name}"
    assert msgspec.json.decode(target.model_json) == target.name


def test_a_bare_name_that_several_list_is_ambiguous_and_the_choices_are_named():
    made = state(spec("b", "x"), spec("a", "x"), spec("open"))
    with pytest.raises(AmbiguousModel, match=r"a/x, b/x") as refused:
        made.resolve("x", "")
    assert refused.value.param == "model"
    assert "open/x" not in refused.value.message


def test_a_bare_name_that_nobody_lists_goes_to_the_only_open_provider_else_it_is_ambiguous():
    assert models(state(spec("a", "x"), spec("open")).resolve("y", "")) == ["open/y"]
    with pytest.raises(AmbiguousModel, match="one/y, two/y"):
        state(spec("two"), spec("one"), spec("a", "x")).resolve("y", "")


def test_a_name_that_nobody_serves_says_what_there_is():
    made = state(spec("a", "x"))
    for name in ("y", "b/x", "a/", "/x"):
        with pytest.raises(ModelNotFound, match="a/x") as refused:
            made.resolve(name, "")
        assert refused.value.param == "model"
        assert repr(name) in refused.value.message
    with pytest.raises(ModelNotFound, match="there are: none"):
        state().resolve("y", "")


def test_the_default_model_stands_in_for_names_that_nobody_serves_and_says_so():
    made = state(spec("a", "x"), default_model="a/x")
    plan = made.resolve("gpt-4o", "")
    assert plan.substituted
    assert models(plan) == ["a/x"]
    assert plan.release == Release(model="a/x").id()
    assert not made.resolve("a/x", "").substituted


def test_no_name_at_all_means_the_default_model_or_is_refused():
    house = state(spec("own", "small"), default_model="own/small")
    assert models(house.resolve("", "u")) == ["own/small"]
    assert not house.resolve("", "u").substituted, "nothing else was asked for"
    with pytest.raises(CallerError, match="`model` is missing") as refused:
        state(spec("a", "x")).resolve("", "u")
    assert refused.value.param == "model"


def test_a_resolved_name_is_remembered_and_the_memory_is_bounded():
    made = state(spec("a"))
    assert made.resolve("a/x", "one") is made.resolve("a/x", "two")
    for n in range(_PLANS_KEPT + 5):
        made.resolve(f"a/{n}", "")
        assert len(made._plans) <= _PLANS_KEPT
    assert models(made.resolve("a/x", "")) == ["a/x"]


def test_what_is_served_lists_routes_models_and_named_targets_once():
    made = state(
        spec("a", "x", "y"),
        spec("b"),
        routes=(route("zeta"), route("alpha")),
        releases={"rel_1": Release(model="a/x")},
        targets={
            "a/x": (TargetSpec(provider="b", model="x"),),
            "big/one": (TargetSpec(provider="b", model="z"),),
        },
    )
    assert made.served() == [
        ("route/alpha", "trimtab"),
        ("route/zeta", "trimtab"),
        ("a/x", "a"),
        ("a/y", "a"),
        ("big/one", "big"),
    ]
    assert made.open_ended() == ["b"]


# --- routes -------------------------------------------------------------------------------------------------


def route(name: str, *arms: WeightedRelease, channel: str = "production") -> RouteSpec:
    return RouteSpec(name=name, channels={channel: arms or (WeightedRelease(release="rel_1"),)})


RELEASES = {
    "rel_1": Release(model="a/x", fallbacks=("b/y", "b/z"), parameters={"temperature": 0.5, "tools": []}),
    "rel_2": Release(model="b/y"),
}


def test_a_route_means_its_release_with_fallbacks_and_parameters():
    made = state(spec("a"), spec("b"), routes=(route("chat"),), releases=RELEASES)
    plan = made.resolve("route/chat", "someone")
    assert models(plan) == ["a/x", "b/y", "b/z"]
    assert (plan.release, plan.route, plan.channel, plan.arm) == ("rel_1", "chat", "production", "")
    assert {name: msgspec.json.decode(raw) for name, raw in plan.defaults.items()} == {
        "temperature": 0.5,
        "tools": [],
    }


@pytest.mark.parametrize("name", ["route/none", "route/", "route/canary-only"])
def test_a_route_without_a_production_channel_is_not_found(name):
    made = state(
        spec("a"),
        spec("b"),
        routes=(route("chat"), route("canary-only", channel="canary")),
        releases=RELEASES,
    )
    with pytest.raises(ModelNotFound, match="route/canary-only, route/chat") as refused:
        made.resolve(name, "")
    assert refused.value.param == "model"
    with pytest.raises(ModelNotFound, match="none is configured"):
        state(spec("a")).resolve("route/chat", "")


def test_a_route_to_a_missing_release_or_provider_is_refused_when_compiled():
    with pytest.raises(ConfigError, match=r"'chat'.*'rel_9'"):
        state(spec("a"), routes=(route("chat", WeightedRelease(release="rel_9")),), releases=RELEASES)
    with pytest.raises(ConfigError, match=r"no provider 'b'; configured: a"):
        state(spec("a"), routes=(route("chat"),), releases=RELEASES)
    with pytest.raises(ConfigError, match="configured: none"):
        state(routes=(route("chat"),), releases=RELEASES)


def test_the_same_caller_always_gets_the_same_arm_in_any_process():
    arms = (WeightedRelease(release="rel_1", arm="old"), WeightedRelease(release="rel_2", arm="new"))
    one, other = (
        state(spec("a"), spec("b"), routes=(route("chat", *arms),), releases=RELEASES) for _ in range(2)
    )
    for n in range(200):
        plan = one.resolve("route/chat", f"user-{n}")
        assert one.resolve("route/chat", f"user-{n}") is plan
        assert other.resolve("route/chat", f"user-{n}").arm == plan.arm
        assert plan.release == {"old": "rel_1", "new": "rel_2"}[plan.arm]


@pytest.mark.parametrize("weights", [(1, 1), (9, 1), (1, 2, 3), (0, 5), (5, 0, 5)])
def test_arms_get_calls_by_their_weight(weights):
    arms = tuple(
        WeightedRelease(release="rel_1", weight=weight, arm=str(at)) for at, weight in enumerate(weights)
    )
    made = state(spec("a"), spec("b"), routes=(route("chat", *arms),), releases=RELEASES)
    calls = 4000
    got = Counter(made.resolve("route/chat", f"u{n}").arm for n in range(calls))
    for at, weight in enumerate(weights):
        share = weight / sum(weights)
        # 5 standard deviations of a binomial share: a fixed hash, so the outcome never varies between runs.
        assert abs(got[str(at)] / calls - share) <= 5 * (share * (1 - share) / calls) ** 0.5


def test_two_routes_split_the_same_callers_independently():
    arms = tuple(WeightedRelease(release="rel_1", arm=arm) for arm in "ab")
    made = state(spec("a"), spec("b"), routes=(route("one", *arms), route("two", *arms)), releases=RELEASES)
    same = sum(
        made.resolve("route/one", f"u{n}").arm == made.resolve("route/two", f"u{n}").arm for n in range(2000)
    )
    assert 850 < same < 1150


def test_a_route_whose_arms_all_weigh_nothing_still_answers():
    arms = tuple(WeightedRelease(release="rel_1", weight=0, arm=arm) for arm in "ab")
    made = state(spec("a"), spec("b"), routes=(route("chat", *arms),), releases=RELEASES)
    assert made.resolve("route/chat", "u").arm == "b"


# --- targets ------------------------------------------------------------------------------------------------


def test_a_model_with_targets_is_served_by_all_of_them_under_their_own_names():
    made = state(
        spec("a"),
        spec("b", deadlines=Deadlines(first_byte_s=7)),
        targets={"big/one": (TargetSpec(provider="a", model="m1"), TargetSpec(provider="b", model="m2"))},
    )
    first, second = made.resolve("big/one", "").models[0].targets
    assert (first.label, second.label) == ("a/m1", "b/m2")
    assert first.deadlines is QUICK.deadlines
    assert second.deadlines.first_byte_s == 7
    assert made.resolve("a/m1", "").models[0].targets == [first], "one target, however it is reached"


def test_a_model_whose_target_names_no_provider_is_a_fault_of_the_configuration():
    made = state(spec("a"), targets={"big/one": (TargetSpec(provider="gone", model="m"),)})
    with pytest.raises(ConfigError, match="'gone'"):
        made.resolve("big/one", "")


# --- generations --------------------------------------------------------------------------------------------


def test_unchanged_providers_live_on_with_what_was_seen_of_their_targets():
    old = state(spec("a"), spec("b"))
    [kept] = old.resolve("a/m", "").models[0].targets
    [changed] = old.resolve("b/m", "").models[0].targets
    new = state(spec("a"), spec("b", api_key="other"), previous=old, generation=2)
    assert new.generation == 2
    assert new.providers["a"] is old.providers["a"]
    assert new.providers["b"] is not old.providers["b"]
    assert new.resolve("a/m", "").models[0].targets == [kept]
    [renewed] = new.resolve("b/m", "").models[0].targets
    assert renewed is not changed
    assert renewed.health is changed.health, "it is still the same place, asked with another key"
    assert new.renewed(changed) is renewed
    assert new.renewed(kept) is None
    assert new.catalog is old.catalog


def test_a_changed_price_list_is_read_again():
    old = state(spec("a"))
    catalog = {
        "format": 1,
        "version": "mine",
        "models": {"a/m": {"prices": [{"from": "2020-01-01", "input": "1", "output": "2"}]}},
    }
    new = state(spec("a"), previous=old, catalog=catalog)
    assert new.catalog is not old.catalog
    assert new.catalog.price("a/m", 1_735_689_600_000_000) is not None


def test_changed_deadlines_reach_targets_that_live_on():
    old = state(spec("a"))
    old.resolve("a/m", "")
    policy = msgspec.structs.replace(QUICK, deadlines=Deadlines(total_s=77))
    new = State(msgspec.structs.replace(old.snapshot, generation=2, policy=policy), lambda _: None, old)
    [target] = new.resolve("a/m", "").models[0].targets
    assert target.provider is old.providers["a"]
    assert target.deadlines.total_s == 77


def test_a_changed_provider_that_equals_the_old_one_is_another_all_the_same():
    class Same(Events):
        def __eq__(self, other):
            return isinstance(other, Same)

        __hash__ = None

    def made(generation, key, previous):
        snapshot = Snapshot(generation=generation, providers=(spec("a", api_key=key),))
        return State(snapshot, lambda given: Same(name=given.name), previous)

    old = made(1, "one", None)
    old.resolve("a/m", "")
    new = made(2, "two", old)
    [target] = new.resolve("a/m", "").models[0].targets
    assert target.provider is new.providers["a"]
