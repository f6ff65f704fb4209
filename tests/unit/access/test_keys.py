"""Keys, and who is let in with which."""

import re
import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.access import KEY_PREFIX, Caller, KeyRing, authorize, bearer, make_key
from trimtab.types import Forbidden, Policy, Unauthenticated

LOCAL = [(b"host", b"127.0.0.1:8400")]
OPEN, CLOSED = Policy(open_access=True, payload="hash"), Policy(open_access=False)


def let_in(*headers: tuple[bytes, bytes], policy: Policy = OPEN, ring: KeyRing | None = None) -> Caller:
    return authorize(
        [*LOCAL, *headers], policy, ring if ring is not None else KeyRing(), bound_to_loopback=True
    )


def test_a_key_is_random_and_only_its_hash_is_kept() -> None:
    made = [make_key("app", project="p", payload="none") for _ in range(100)]
    plains = {plain for plain, _ in made}
    assert len(plains) == len({spec.id for _, spec in made}) == 100
    for plain, spec in made:
        assert re.fullmatch(r"tt-[A-Za-z0-9_-]{43}", plain)
        assert plain not in repr(spec)
        assert (spec.name, spec.project, spec.payload) == ("app", "p", "none")
        assert spec.created_us > 1_700_000_000_000_000


@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "BEARER   {}", "Bearer {} ", "{}"])
@pytest.mark.parametrize("name", [b"authorization", b"x-api-key"])
@pytest.mark.parametrize("policy", [OPEN, CLOSED])
def test_a_known_key_opens(form: str, name: bytes, policy: Policy) -> None:
    plain, spec = make_key("app", project="p")
    found = let_in((name, form.format(plain).encode()), policy=policy, ring=KeyRing([spec]))
    assert found == Caller(spec.id, "p", policy.payload)


def test_a_key_opens_from_anywhere() -> None:
    plain, spec = make_key(payload="none")
    headers = [
        (b"host", b"api.example"),
        (b"x-forwarded-for", b"203.0.113.9"),
        (b"origin", b"https://app.example"),
        (b"authorization", b"Bearer " + plain.encode()),
    ]
    found = authorize(headers, CLOSED, KeyRing([spec]), bound_to_loopback=False)
    assert found.payload == "none"


@pytest.mark.parametrize("policy", [OPEN, CLOSED])
def test_an_unknown_key_of_ours_is_refused_even_where_access_is_open(policy: Policy) -> None:
    plain, _ = make_key()
    with pytest.raises(Unauthenticated, match="not known"):
        let_in((b"authorization", b"Bearer " + plain.encode()), policy=policy)


def test_a_foreign_key_is_ignored() -> None:
    assert let_in((b"authorization", b"Bearer sk-something")) == Caller("", "default", "hash")
    with pytest.raises(Unauthenticated, match="a key is needed"):
        let_in((b"authorization", b"Bearer sk-something"), policy=CLOSED)


def test_ours_counts_beside_a_foreign_one() -> None:
    plain, spec = make_key()
    ring = KeyRing([spec])
    ours, foreign = (b"x-api-key", plain.encode()), (b"authorization", b"Bearer sk-x")
    assert let_in(foreign, ours, ring=ring).key == spec.id
    assert let_in(ours, foreign, ring=ring).key == spec.id


def test_without_a_key_the_open_access_rule_decides() -> None:
    assert let_in() == Caller("", "default", "hash")
    with pytest.raises(Forbidden):
        let_in((b"origin", b"https://evil.example"))
    with pytest.raises(Unauthenticated):
        let_in(policy=CLOSED)


def test_a_revoked_key_is_unknown_to_the_next_ring() -> None:
    plain, spec = make_key()
    assert KeyRing([spec]).check(plain.encode()) == spec
    assert KeyRing().check(plain.encode()) is None


@given(st.binary(max_size=600))
def test_no_guess_opens(guess: bytes) -> None:
    _, spec = make_key()
    ring = KeyRing([spec])
    assert ring.check(guess) is None
    assert ring.check(b"Bearer " + guess) is None


@given(st.integers(0, 45), st.binary(min_size=1, max_size=1))
def test_no_key_opens_with_one_character_changed(at: int, other: bytes) -> None:
    plain, spec = make_key()
    changed = plain.encode()[:at] + other + plain.encode()[at + 1 :]
    found = KeyRing([spec]).find(changed)
    assert (found == spec) == (changed == plain.encode())


@given(st.binary(max_size=80))
def test_whatever_stands_in_the_header_the_answer_is_a_caller_or_a_refusal(value: bytes) -> None:
    if not bearer(value).startswith(KEY_PREFIX.encode()):
        assert let_in((b"authorization", value)).key == ""


def test_a_check_takes_about_a_microsecond() -> None:
    keys = [make_key() for _ in range(1000)]
    ring = KeyRing(spec for _, spec in keys)
    assert len(ring) == 1000
    shown = b"Bearer " + keys[500][0].encode()
    best = min(timeit.repeat(lambda: ring.check(shown), number=2000, repeat=5)) / 2000
    # 1.3 µs here; the bound only catches a change of order.
    assert best < 40e-6
