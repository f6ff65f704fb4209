"""Published snapshots whose files were damaged: what is loaded is what was published, or an error in words."""

import tempfile
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from tools.fuzz.grammar import mutated, text
from trimtab.storage.files import open_snapshot_store
from trimtab.types import KeySpec, ProviderSpec, Release, RouteSpec, Snapshot, TrimtabError, WeightedRelease

from . import Plain

_FAST = Path("/dev/shm")


class Snapshots(Plain):
    """A folder with one publication."""

    name = "snapshots"

    def make(self, rng: Random) -> Any:
        release = Release(model="p/m", parameters={"stop": text(rng), "n": rng.randrange(9)})
        route = RouteSpec(name="r", channels={"production": (WeightedRelease(release=release.id()),)})
        snapshot = Snapshot(
            generation=rng.randrange(1, 10**6),
            providers=(ProviderSpec(name="p", base_url="http://h/v1", api_key=text(rng)),),
            routes=(route,),
            releases={release.id(): release},
            keys=tuple(
                KeySpec(id=f"key_{n}", sha256="ab" * 32, name=text(rng)) for n in range(rng.randrange(3))
            ),
        )
        return {
            "snapshot": msgspec.msgpack.encode(snapshot),
            "seed": rng.random(),
            "damaged": rng.random() < 0.8,
        }

    def check(self, case: Any) -> None:
        snapshot = msgspec.msgpack.decode(case["snapshot"], type=Snapshot)
        rng = Random(case["seed"])
        with tempfile.TemporaryDirectory(dir=_FAST if _FAST.is_dir() else None) as folder:
            store = open_snapshot_store(folder)
            store.publish(snapshot)
            if case["damaged"]:
                path = rng.choice(sorted(p for p in Path(folder).rglob("*") if p.is_file()))
                path.write_bytes(mutated(rng, path.read_bytes()))
            fresh = open_snapshot_store(folder)
            try:
                fresh.generation()
                loaded = fresh.load()
            except TrimtabError:
                if not case["damaged"]:
                    raise
                return
        # The manifest's own number has no checksum; all that it names has.
        assert msgspec.structs.replace(loaded, generation=snapshot.generation) == snapshot, (
            "another one is loaded"
        )
