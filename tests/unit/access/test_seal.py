"""Sealed keys open where they were meant to go, and nowhere else."""

import base64

import msgspec
import pytest

from trimtab.access import Seal, is_sealed
from trimtab.types import ConfigError, ProviderSpec

KEY = "sk-planted-4f2a9c"
SPEC = ProviderSpec(name="up", base_url="https://api.example/v1", models=("m",))


@pytest.fixture
def seal() -> Seal:
    return Seal(b"k" * 32)


def sealed(seal: Seal, key: str = KEY) -> ProviderSpec:
    return msgspec.structs.replace(SPEC, api_key=seal.seal(key, SPEC))


@pytest.mark.parametrize("key", [KEY, "", "sealed:v1:abc", "鍵", "x" * 5000])
def test_what_was_sealed_opens(seal: Seal, key: str) -> None:
    spec = sealed(seal, key)
    assert is_sealed(spec.api_key)
    assert seal.open(spec) == key
    assert KEY not in spec.api_key


def test_no_two_seals_are_alike(seal: Seal) -> None:
    assert sealed(seal).api_key != sealed(seal).api_key


@pytest.mark.parametrize(
    "moved",
    [
        {"name": "other"},
        {"base_url": "https://evil.example/v1"},
        {"base_url": "http://api.example/v1"},
        {"kind": "plugin"},
        {"proxy": "http://evil.example:3128"},
        {"ca_file": "evil.pem"},
        {"options": {"endpoint": "https://evil.example"}},
    ],
)
def test_it_opens_nowhere_else(seal: Seal, moved: dict[str, object]) -> None:
    spec = msgspec.structs.replace(sealed(seal), **moved)
    with pytest.raises(ConfigError, match="enter the key again") as told:
        seal.open(spec)
    assert KEY not in str(told.value)
    assert spec.api_key not in str(told.value)


def test_what_does_not_decide_where_it_goes_may_change(seal: Seal) -> None:
    spec = msgspec.structs.replace(sealed(seal), models=("a", "b"), max_connections=5)
    assert seal.open(spec) == KEY


def test_another_secret_opens_nothing(seal: Seal) -> None:
    with pytest.raises(ConfigError):
        Seal(b"j" * 32).open(sealed(seal))
    with pytest.raises(ConfigError, match="32"):
        Seal(b"short")


def test_every_changed_byte_is_noticed(seal: Seal) -> None:
    spec = sealed(seal)
    raw = bytearray(base64.b64decode(spec.api_key.removeprefix("sealed:v1:")))
    for at in range(len(raw)):
        raw[at] ^= 1
        text = "sealed:v1:" + base64.b64encode(raw).decode()
        with pytest.raises(ConfigError):
            seal.open(msgspec.structs.replace(spec, api_key=text))
        raw[at] ^= 1


@pytest.mark.parametrize(
    "text", ["sealed:v2:AAAA", "sealed:", "sealed:v1:", "sealed:v1:AAAA", "sealed:v1:!", "plain"]
)
def test_what_is_no_seal_of_ours_is_refused(seal: Seal, text: str) -> None:
    with pytest.raises(ConfigError):
        seal.open(msgspec.structs.replace(SPEC, api_key=text))
