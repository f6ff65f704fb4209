"""The kit for `SnapshotStore`."""

from collections.abc import Callable
from functools import partial

import msgspec

from trimtab.storage import SnapshotStore
from trimtab.types import KeySpec, Policy, ProviderSpec, Release, Snapshot

from .refusal import refuses


def check_snapshot_store(make: Callable[[], SnapshotStore]) -> None:
    """Check the promises of `SnapshotStore`.

    Args:
        make: opens the store at one and the same place; the first time nothing must be published there.

    Raises:
        AssertionError: with the promise that was broken.
    """
    store, reader = make(), make()
    assert reader.generation() == 0, "generation must be 0 where nothing was published"
    refuses(reader.load, "loading must raise StorageError where nothing was published")
    assert list(reader.reports()) == [], "nobody must have reported yet"
    release = Release(model="openai/gpt-4o")
    snapshot = Snapshot(
        generation=3,
        policy=Policy(open_access=False),
        providers=(ProviderSpec(name="openai", api_key="${OPENAI_API_KEY}"),),
        releases={release.id(): release},
        keys=(KeySpec(id="key_1", sha256="a" * 64),),
    )
    store.publish(snapshot)
    assert (reader.generation(), reader.load()) == (3, snapshot), (
        "what is published must be what readers load"
    )
    for generation in (2, 3):
        stale = msgspec.structs.replace(snapshot, generation=generation)
        refuses(partial(store.publish, stale), "a generation that is not greater must be refused")
    assert reader.load() == snapshot, "a refused publication must change nothing"
    for generation in range(4, 14):
        snapshot = msgspec.structs.replace(snapshot, generation=generation, default_model=f"own/{generation}")
        store.publish(snapshot)
        assert reader.generation() == generation, "readers must see each publication at once"
        assert reader.load() == snapshot, "readers must load what was published last"
    assert make().load() == snapshot, "a publication must outlast the store that made it"
    reader.report("worker-1", 12)
    reader.report("worker-2", 13)
    reader.report("worker-1", 13)
    assert dict(store.reports()) == {"worker-1": 13, "worker-2": 13}, "a worker's last report must count"
    store.forget("worker-2")
    store.forget("worker-9")
    assert dict(store.reports()) == {"worker-1": 13}, "a forgotten worker must not be reported"
    refuses(lambda: reader.report("../worker", 1), "a worker's name that is no plain name must be refused")
