"""Providers whose secrets come from files and commands see what changed there once the configuration is read again."""

from rigs.pipeline import QUICK, Events
from trimtab.pipeline.state import State
from trimtab.types import ProviderSpec, Snapshot


def compiled(read_us: int, generation: int, previous: State | None = None, **spec: object) -> State:
    snapshot = Snapshot(
        generation=generation,
        providers=(ProviderSpec(name="p", **spec),),
        policy=QUICK,
        read_us=read_us,
    )
    return State(snapshot, lambda given: Events(name=given.name), previous)


def test_they_are_made_anew_at_a_reload_and_not_when_something_else_was_published():
    for spec in ({"api_key": "${file:/k}"}, {"headers": {"x": "a${cmd:b}"}}, {"proxy": "${file:/p}"}):
        first = compiled(1, 1, **spec)
        second = compiled(1, 2, first, **spec)
        third = compiled(2, 3, second, **spec)
        assert first.providers["p"] is second.providers["p"]
        assert second.providers["p"] is not third.providers["p"]


def test_all_others_keep_their_connections_at_a_reload():
    for spec in ({"api_key": "${A}"}, {"api_key": "sk"}, {"api_key": "${file:/k}", "reach": "public"}):
        first = compiled(1, 1, **spec)
        assert compiled(2, 2, first, **spec).providers["p"] is first.providers["p"]
