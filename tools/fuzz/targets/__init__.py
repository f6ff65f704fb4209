"""What is attacked. A target makes cases of plain data, and checks the promises that hold for each."""

from contextlib import AbstractContextManager
from random import Random
from typing import Any, Protocol


class Target(Protocol):
    """One reader of foreign bytes."""

    name: str

    def make(self, rng: Random) -> Any:
        """Return a case: plain data that msgpack can hold."""
        ...

    def check(self, case: Any) -> None:
        """Raise where a promise is broken; AssertionError by choice, any other exception by accident."""
        ...


def all_targets() -> list[AbstractContextManager[Target]]:
    """Return every target, to be entered; what it needs to run stands while it is open."""
    from .bodies import Bodies
    from .calls import Calls
    from .configs import Configs
    from .requests import Requests
    from .segments import Segments
    from .snapshots import Snapshots
    from .streams import Streams

    return [Requests(), Streams(), Bodies(), Calls(), Segments(), Snapshots(), Configs()]


class Plain:
    """A target that needs nothing to stand."""

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        pass
