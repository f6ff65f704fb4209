"""Payload policies: what is kept is what the policy says, and never more."""

import hashlib

import pytest

from trimtab.ledger import payload_policies
from trimtab.types.errors import ConfigError

WORDS = '{"messages":[{"content":"私の秘密"}]}'.encode()


def test_full_keeps_the_very_bytes():
    assert payload_policies()["full"](WORDS) is WORDS


def test_hash_keeps_32_bytes_and_nothing_of_nothing():
    keep = payload_policies()["hash"]
    assert keep(WORDS) == hashlib.sha256(WORDS).digest()
    assert keep(b"") == b""


def test_none_keeps_nothing():
    assert payload_policies()["none"](WORDS) == b""


def test_masked_keeps_what_the_mask_leaves():
    assert payload_policies(lambda data: data.replace(b"secret", b"***"))["masked"](b"a secret") == b"a ***"


def test_masked_without_a_mask_is_refused_rather_than_leaked():
    with pytest.raises(ConfigError, match="needs a guard pack that masks"):
        payload_policies()["masked"]


def test_an_unknown_policy_is_refused():
    with pytest.raises(ConfigError, match="'ful' must be one of 'full', 'masked', 'hash', 'none'"):
        payload_policies(bytes)["ful"]
