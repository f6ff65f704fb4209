"""Small rules of the client that no socket is needed for."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.sdk import ApiError, GatewayUnreachable
from trimtab.sdk.errors import may_repeat, retry_after_s
from trimtab.sdk.request import pause_s
from trimtab.types import RetryPolicy


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("2", 2),
        ("1.5", 1.5),
        ("-3", 0),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0),
    ],
)
def test_retry_after_in_both_forms(value, seconds):
    assert retry_after_s(value, now_s=10) == seconds


@given(st.text())
def test_retry_after_may_hold_anything(value):
    assert (retry_after_s(value) or 0) >= 0


@given(st.integers(1, 20), st.floats(0.001, 2), st.floats(0.001, 10))
def test_the_pause_is_jittered_below_a_doubling_ceiling(tries, first, highest):
    retry = RetryPolicy(attempts=100, backoff_s=first, backoff_max_s=highest)
    pause = pause_s(GatewayUnreachable("x"), tries, retry, idempotent=False)
    assert 0 <= pause <= min(first * 2 ** (tries - 1), highest)


def test_the_pause_is_not_the_same_for_all():
    retry = RetryPolicy()
    assert len({pause_s(GatewayUnreachable("x"), 1, retry, idempotent=False) for _ in range(20)}) > 10


def test_the_last_attempt_is_the_last():
    retry = RetryPolicy(attempts=3)
    assert pause_s(GatewayUnreachable("x"), 2, retry, idempotent=False) is not None
    assert pause_s(GatewayUnreachable("x"), 3, retry, idempotent=False) is None


@pytest.mark.parametrize(("asked", "waits"), [(20.0, 20.0), (20.1, None), (0.0, 0.0)])
def test_a_pause_asked_for_is_kept_or_the_caller_is_told(asked, waits):
    error = ApiError("x", status=429, retryable=True, retry_after_s=asked)
    assert pause_s(error, 1, RetryPolicy(), idempotent=False) == waits


@pytest.mark.parametrize(
    ("error", "chat", "listing"),
    [
        (GatewayUnreachable("x"), True, True),
        (ApiError("x", status=429, retryable=True), True, True),
        (ApiError("x", status=429, retryable=False), False, False),
        (ApiError("x", status=502, retryable=True), False, True),
        (ApiError("x", status=400), False, False),
    ],
)
def test_what_is_repeated(error, chat, listing):
    assert may_repeat(error, idempotent=False) is chat
    assert may_repeat(error, idempotent=True) is listing


def test_the_name_of_the_client_costs_nothing_to_import():
    script = (
        "import sys, trimtab\n"
        "assert 'trimtab.sdk' not in sys.modules and 'asyncio' not in sys.modules\n"
        "trimtab.Client\n"
        "trimtab.Client()\n"
        "assert 'httptools' not in sys.modules\n"
        "import threading\n"
        "assert threading.active_count() == 1\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=20)
