"""Passwords: their form, their cost, and that nothing but the right one fits."""

import re
import time

import pytest

from trimtab.access import hash_password, verify_password
from trimtab.types import CallerError

WORDS = "correct horse battery staple"


@pytest.fixture(scope="module")
def kept() -> str:
    return hash_password(WORDS)


def test_the_form_is_phc_at_owasps_minimum_or_above(kept: str) -> None:
    found = re.fullmatch(r"\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$([\w+/]{22})\$([\w+/]{43})", kept)
    assert found
    memory_kib, passes, lanes = (int(found[n]) for n in (1, 2, 3))
    assert memory_kib >= 19 * 1024
    assert passes >= 2
    assert lanes == 1
    assert WORDS not in kept


def test_every_hash_has_a_salt_of_its_own(kept: str) -> None:
    assert hash_password(WORDS) != kept


@pytest.mark.parametrize("wrong", ["", "correct horse battery stapl", WORDS + " ", WORDS.upper(), "x" * 5000])
def test_only_the_right_one_fits(kept: str, wrong: str) -> None:
    assert verify_password(WORDS, kept)
    assert not verify_password(wrong, kept)


@pytest.mark.parametrize(
    "phc", ["", "x", "$argon2id$v=19$m=8,t=1,p=1$!!$!!", "$argon2i$v=19$m=8,t=1,p=1$YQ$YQ"]
)
def test_an_empty_or_damaged_hash_fits_nothing(phc: str) -> None:
    assert not verify_password(WORDS, phc)
    assert not verify_password("", phc)


def test_composed_and_decomposed_letters_are_the_same_password() -> None:
    assert verify_password(
        "パスワードはひみつですよ", hash_password("ハ\u309aスワート\u3099はひみつて\u3099すよ")
    )


@pytest.mark.parametrize("length", [0, 11, 1025])
def test_length_is_bounded(length: int) -> None:
    with pytest.raises(CallerError, match="12 to 1024"):
        hash_password("x" * length)


def test_an_unknown_name_costs_as_much_as_a_wrong_password(kept: str) -> None:
    def cost(phc: str) -> float:
        costs = []
        for _ in range(3):
            began = time.process_time()
            verify_password("not the password", phc)
            costs.append(time.process_time() - began)
        return min(costs)

    known, unknown = cost(kept), cost("")
    assert 0.5 < known / unknown < 2.0
