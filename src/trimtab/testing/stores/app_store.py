"""The kit for `AppStore`."""

import contextlib
from collections.abc import Callable

import msgspec

from trimtab.storage import AppStore, Move
from trimtab.types import (
    BudgetSpec,
    KeySpec,
    LimitSpec,
    Project,
    ProviderSpec,
    Release,
    SettingChange,
    StoredProvider,
    WeightedRelease,
    new_id,
)

from .alerts import check_alerts, check_alerts_kept
from .people import check_people, check_people_kept
from .refusal import refuses


def check_app_store(make: Callable[[], AppStore]) -> None:
    """Check the promises of `AppStore`.

    Args:
        make: opens the store at one and the same place; the first time it must be empty.

    Raises:
        AssertionError: with the promise that was broken.
    """
    store = make()
    assert store.projects() == [Project()], "the project `default` must always be there"
    store.put_project(Project(name="acme", payload="hash"))
    store.put_project(Project(name="acme", payload="none"))
    _check_keys(store)
    release = Release(model="openai/gpt-4o", parameters={"temperature": 0})
    assert store.put_release(release) == release.id(), "a release must be stored under its content id"
    assert store.put_release(release) == release.id(), "storing a release twice must change nothing"
    assert store.release(release.id()) == release, "a release must come back as it was"
    assert store.release("rel_none") is None, "release must return None for an id that is not stored"
    moves = _check_moves(store, release.id(), store.put_release(Release(model="own/small")))
    assert store.setting("theme") is None, "setting must return None where there is none"
    store.put_setting("theme", "dark")
    store.put_setting("theme", "light")
    _check_settings(store)
    _check_together(store)
    _check_providers(store)
    _check_rules(store)
    check_people(store)
    check_alerts(store)
    generations = [store.next_generation() for _ in range(3)]
    routes, keys = store.routes(), store.keys()
    store.close()

    store = make()
    names = {project.name: project.payload for project in store.projects()}
    assert names == {"default": "full", "acme": "none"}, "put_project must create and replace, for good"
    assert store.setting("theme") == "light", "put_setting must replace, for good"
    generations.append(store.next_generation())
    assert generations == sorted(set(generations)), (
        "every generation must be greater than those before, for good"
    )
    assert generations[0] > 0, "generations must start above 0, which means that there is none"
    assert store.moves("default", "support") == moves, "a route's history must be kept"
    assert (store.routes(), store.keys()) == (routes, keys), "routes and keys must be kept"
    check_people_kept(store)
    check_alerts_kept(store)
    assert store.settings() == {"theme": "light", "zoom": "3"}, "settings must be kept"
    assert len(store.setting_changes()) == 4, "the settings' history must be kept"
    _check_removed_project(store, second=store.put_release(Release(model="own/small")))
    store.close()


def _check_settings(store: AppStore) -> None:
    steps = [("zoom", "", "2"), ("zoom", "2", "3"), ("lang", "", "ja"), ("lang", "ja", "")]
    changes = [
        SettingChange(at_us=i, actor="ann", name=name, before=before, after=after)
        for i, (name, before, after) in enumerate(steps)
    ]
    for change in changes:
        store.change_setting(change)
    assert store.setting("zoom") == "3", "change_setting must store the setting"
    assert store.setting("lang") is None, "an empty `after` must remove the setting"
    assert store.settings() == {"theme": "light", "zoom": "3"}, "settings must give what is stored, all of it"
    assert store.setting_changes() == changes[::-1], "the settings' history must come newest first"
    assert store.setting_changes(limit=1) == changes[:-2:-1], "the settings' history must keep to its limit"


def _check_together(store: AppStore) -> None:
    before = store.settings()
    with contextlib.suppress(ValueError), store.together():
        store.put_setting("half", "done")
        assert store.setting("half") == "done", "what is done in `together` must be seen inside it"
        raise ValueError
    assert store.settings() == before, "an error must undo all that was done in `together`"
    with store.together(), store.together():
        store.put_project(Project(name="whole"))
        store.remove_project("whole")
    assert store.settings() == before, "`together` inside `together` must be one"


def _check_providers(store: AppStore) -> None:
    assert store.providers() == [], "nobody must have added a provider yet"
    first = StoredProvider(spec=ProviderSpec(name="beta", api_key="sealed:v1:x"), created_us=1)
    second = StoredProvider(spec=ProviderSpec(name="alpha", models=("a", "b")), created_us=2)
    rotated = msgspec.structs.replace(first, rotated_us=3)
    for provider in (first, second, rotated):
        store.put_provider(provider)
    assert store.providers() == [second, rotated], "providers must be created and replaced, and come by name"
    assert store.remove_provider("beta") is True, "remove_provider must say that it removed"
    assert store.remove_provider("beta") is False, "remove_provider must return False where there is none"
    assert store.providers() == [second], "a removed provider must be gone"


def _check_rules(store: AppStore) -> None:
    assert (store.limits(), store.budgets()) == ([], []), "there must be no limits and budgets yet"
    limit = LimitSpec(name="both", key="key_1", requests_per_minute=60)
    budget = BudgetSpec(name="both", amount_nusd=1 << 60, per="user", alert_at=(0.25,))
    for rule in (LimitSpec(name="z"), limit, budget, msgspec.structs.replace(budget, hard=False)):
        store.put_rule(rule)
    assert store.limits() == [limit, LimitSpec(name="z")], "limits must come by name, apart from budgets"
    assert store.budgets() == [msgspec.structs.replace(budget, hard=False)], "a budget must be replaced"
    assert store.remove_rule(LimitSpec, "both") is True, "remove_rule must say that it removed"
    assert store.remove_rule(LimitSpec, "both") is False, "remove_rule must return False where there is none"
    assert (len(store.limits()), len(store.budgets())) == (1, 1), "it must remove that one alone"


def _check_removed_project(store: AppStore, second: str) -> None:
    store.move(
        Move(
            id=new_id(), at_us=8, project="acme", route="r", channel="production",
            releases=((second, 1),), author="ann", reason="",
        )
    )  # fmt: skip
    assert store.remove_project("default") is False, "the project `default` must stay"
    assert store.remove_project("nobody") is False, "remove_project must return False where there is none"
    assert store.remove_project("acme") is True, "remove_project must say that it removed"
    assert [project.name for project in store.projects()] == ["default"], "a removed project must be gone"
    keys = store.keys()
    assert not [key for key in keys if key.project == "acme"], "its keys must go with a project"
    assert not [r for r in store.routes() if r.project == "acme"], "its routes must go with a project"
    assert store.remove_project("acme") is False, "a removed project must not be removed again"


def check_back_up(make: Callable[[str], AppStore], folder: str) -> None:
    """Check that `back_up` writes a whole store to another place, while the first goes on.

    Args:
        make: opens the store at a path of the folder.
        folder: an empty one.

    Raises:
        AssertionError: with the promise that was broken.
    """
    store = make(f"{folder}/app")
    store.put_setting("theme", "dark")
    store.back_up(f"{folder}/copy")
    store.put_setting("theme", "light")
    refuses(lambda: store.back_up(f"{folder}/copy"), "back_up must not replace what is there")
    store.close()
    copy = make(f"{folder}/copy")
    assert copy.setting("theme") == "dark", "back_up must copy what was stored by then, and only that"
    copy.close()


def _check_keys(store: AppStore) -> None:
    first = KeySpec(id="key_1", sha256="a" * 64, name="ci", payload="hash", created_us=5)
    second = KeySpec(id="key_2", sha256="b" * 64, project="acme", created_us=6, cache_ttl_s=2.5)
    store.add_key(first)
    store.add_key(second)
    assert sorted(store.keys(), key=lambda key: key.id) == [first, second], "keys must come back as they were"
    refuses(lambda: store.add_key(KeySpec(id="key_1", sha256="c" * 64)), "a key's id must be taken once only")
    refuses(
        lambda: store.add_key(KeySpec(id="key_3", sha256="a" * 64)), "a key's hash must be taken once only"
    )
    assert store.revoke_key("key_1") is True, "revoke_key must say that it revoked"
    assert store.revoke_key("key_9") is False, "revoke_key must return False where there is no such key"
    assert store.keys() == [second], "a revoked key must not be listed"
    refuses(lambda: store.add_key(first), "a revoked key must not come back")


def _check_moves(store: AppStore, first: str, second: str) -> list[Move]:
    steps = [
        ("production", ((first, 1),)),
        ("canary", ((second, 1),)),
        ("production", ((second, 9), (first, 1))),
        ("canary", ()),
    ]
    moves = [
        Move(
            id=new_id(), at_us=7, project="default", route="support", channel=channel, releases=releases,
            author="ann", reason=f"step {i}",
        )
        for i, (channel, releases) in enumerate(steps)
    ]  # fmt: skip
    for move in moves:
        store.move(move)
    assert store.moves("default", "support") == moves, "a route's moves must come back oldest first"
    assert store.moves("acme", "support") == [], "a route's moves must be those of its project"
    assert len(store.routes()) == 1, "routes must give each route once"
    route = store.routes()[0]
    production = (WeightedRelease(release=second, weight=9), WeightedRelease(release=first, weight=1))
    assert route.channels == {"production": production}, "a channel must point where its last move put it"
    refuses(lambda: store.move(moves[0]), "a move's id must be taken once only")
    unknown = msgspec.structs.replace(moves[0], id=new_id(), releases=(("rel_none", 1),))
    refuses(lambda: store.move(unknown), "a move to a release that is not stored must be refused")
    assert store.moves("default", "support") == moves, "a refused move must leave no trace"
    return moves
