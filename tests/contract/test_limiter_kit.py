"""The limiter kit against the mapped file, and the kit against limiters that break a promise."""

from pathlib import Path

import pytest

from trimtab.limits import MappedLimiter
from trimtab.testing import FrozenClock, check_limiter


def test_the_mapped_file_keeps_every_promise(tmp_path: Path) -> None:
    check_limiter(lambda clock: MappedLimiter(tmp_path, clock=clock))


class _Forgetful(MappedLimiter):
    """Settles nothing."""

    def settle(self, grant, tokens, cost_nusd, *, alarm=True):
        return


class _Generous(MappedLimiter):
    """Lets everybody in."""

    def _fits(self, *_):
        return None


class _Alone(MappedLimiter):
    """Shares nothing with other processes."""

    made = 0

    def __init__(self, folder: Path, clock: FrozenClock) -> None:
        _Alone.made += 1
        super().__init__(folder / str(_Alone.made), clock=clock)


@pytest.mark.parametrize("kind", [_Forgetful, _Generous, _Alone])
def test_the_kit_notices_a_broken_promise(kind: type[MappedLimiter], tmp_path: Path) -> None:
    with pytest.raises((AssertionError, ExceptionGroup)):
        check_limiter(lambda clock: kind(tmp_path, clock=clock))
