"""Sign-in tokens, the limit on failures, roles."""

import hashlib

import pytest

from trimtab.access import FailureLimiter, expiry, make_token, permits, token_hash
from trimtab.access.limiter import _REMEMBERED, PER_ADDRESS, PER_NAME
from trimtab.types import ROLES, RateLimited


class Clock:
    def __init__(self) -> None:
        self.at = 100.0

    def now_us(self) -> int:
        return int(self.at * 1e6)

    def monotonic(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limiter(clock: Clock) -> FailureLimiter:
    return FailureLimiter(clock)


def failures(limiter: FailureLimiter, name: str, address: str, most: int = 1000) -> int:
    for count in range(most):
        try:
            limiter.begin(name, address)
        except RateLimited:
            return count
    return most


def test_a_token_is_256_bits_and_kept_as_a_hash() -> None:
    plain, kept = make_token()
    assert plain.startswith("ts-")
    assert len(plain) == 3 + 43
    assert kept == hashlib.sha256(plain.encode()).hexdigest() == token_hash(plain)
    assert make_token()[0] != plain
    assert token_hash("x" * 10_000) == token_hash("")


def test_a_sign_in_ends_when_idle_and_in_any_case() -> None:
    hour = 3_600_000_000
    assert expiry(0, 0) == 12 * hour
    assert expiry(0, 100 * hour) == 112 * hour
    assert expiry(0, 160 * hour) == 168 * hour


def test_a_name_is_barred_whatever_its_case_and_address_and_let_in_again(
    limiter: FailureLimiter, clock: Clock
) -> None:
    assert failures(limiter, "ann", "10.0.0.1") == PER_NAME
    assert failures(limiter, "ANN", "10.0.0.2") == 0
    assert failures(limiter, "bob", "10.0.0.2", 1) == 1
    with pytest.raises(RateLimited) as told:
        limiter.begin("ann", "10.0.0.3")
    assert 0 < (told.value.retry_after_s or 0) <= 90
    clock.at += 91
    assert failures(limiter, "ann", "10.0.0.1") == 1
    clock.at += 900
    assert failures(limiter, "ann", "10.0.0.1") == PER_NAME


def test_an_address_is_barred_that_tries_many_names(limiter: FailureLimiter) -> None:
    for n in range(PER_ADDRESS):
        limiter.begin(f"user{n}", "10.0.0.1")
    with pytest.raises(RateLimited):
        limiter.begin("ann", "10.0.0.1")
    limiter.begin("ann", "10.0.0.2")


def test_success_forgets_the_names_failures_and_only_its_own_of_the_address(limiter: FailureLimiter) -> None:
    for _ in range(PER_NAME - 1):
        limiter.begin("ann", "10.0.0.1")
    limiter.begin("ann", "10.0.0.1")
    limiter.succeeded("ann", "10.0.0.1")
    assert failures(limiter, "ann", "10.0.0.9") == PER_NAME
    # Whoever knows one password cannot buy more guesses at others with it.
    assert failures(limiter, "", "10.0.0.1") == PER_ADDRESS - (PER_NAME - 1)


def test_memory_is_bounded(limiter: FailureLimiter) -> None:
    for n in range(2 * _REMEMBERED):
        limiter.begin(f"name{n}" * 100, f"10.{n >> 8}.{n & 255}.1")
    assert len(limiter._names._held) == len(limiter._addresses._held) == _REMEMBERED
    assert max(map(len, limiter._names._held)) <= 128


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("needed", ROLES)
def test_roles_rise(role, needed) -> None:
    assert permits(role, needed) == (ROLES.index(role) >= ROLES.index(needed))
