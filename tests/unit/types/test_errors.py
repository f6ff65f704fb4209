"""Errors carry their consequences; codes are stable and each means one thing."""

import pytest

from trimtab.types import (
    Attempt,
    Call,
    CallerError,
    ClientGone,
    Closed,
    Opened,
    ProviderError,
    SystemClock,
    TrimtabError,
    Usage,
    all_errors,
)
from trimtab.types.errors import ProviderRejected

ALL = all_errors()


def test_every_error_is_found_root_first_and_once():
    assert ALL[0] is TrimtabError
    assert len(ALL) == len(set(ALL)) > 30
    assert all(set(cls.__bases__) <= {Exception, *ALL[:at]} for at, cls in enumerate(ALL))


def test_codes_are_unique_snake_case_words():
    codes = [cls.code for cls in ALL]
    assert len(codes) == len(set(codes))
    assert all(code.replace("_", "").isalpha() and code.islower() for code in codes)


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_consequences_fit_the_kind(cls):
    assert 400 <= cls.status <= 599
    assert cls.__doc__
    if issubclass(cls, CallerError):
        assert cls.status < 500
        assert not cls.retryable, "the same request would fail again"
        assert not cls.elsewhere
        assert cls.kind.endswith("_error")
        assert cls.kind != "api_error"
    if issubclass(cls, ProviderError):
        assert cls.status >= 429
        assert cls.elsewhere, "another target may do better"
    else:
        assert not cls.retryable, "only providers are asked again"


def test_an_error_keeps_what_it_was_told():
    error = TrimtabError("what", param="model", retry_after_s=2.5)
    assert str(error) == error.message == "what"
    assert (error.param, error.retry_after_s) == ("model", 2.5)
    bare = ClientGone("gone")
    assert (bare.param, bare.retry_after_s, bare.status) == (None, None, 499)


@pytest.mark.parametrize(("status", "elsewhere"), [(400, False), (404, True), (422, False)])
def test_a_rejection_keeps_the_providers_status_and_body(status, elsewhere):
    error = ProviderRejected("no", status=status, body=b"{}")
    assert (error.status, error.body, error.elsewhere) == (status, b"{}", elsewhere)
    assert not error.retryable
    assert ProviderRejected("no", status=400).body == b""


def test_the_clock_tells_utc_in_microseconds_and_never_goes_back():
    import time

    clock = SystemClock()
    before = time.time()
    assert before - 0.001 <= clock.now_us() / 1e6 <= time.time() + 0.001
    readings = [clock.monotonic() for _ in range(100)]
    assert readings == sorted(readings)
    assert abs(readings[0] - time.monotonic()) < 1


def test_a_call_knows_its_id_and_how_long_it_took():
    words = (
        "default",
        "live",
        "chat",
        "",
        "",
        "rel",
        "",
        "a/b",
        "a/b",
        "",
        False,
        "",
        "",
        "",
        (),
        "",
        "",
        "",
        "",
    )
    opened = Opened("id-1", 1_000_000, *words, "full", b"")
    closed = Closed(
        "id-1",
        1_002_500,
        0,
        "ok",
        200,
        "",
        "",
        "a/b",
        "",
        "a",
        "",
        "",
        "",
        "",
        (),
        Usage(),
        0,
        "",
        False,
        False,
        b"",
    )
    assert Call(opened=opened, closed=closed, state="ok").latency_ms == 2.5
    waiting = Call(opened=opened, closed=None, state="unfinished")
    assert waiting.latency_ms is None
    assert waiting.id == "id-1"
    assert Attempt("a/b", 0, 1).error_code == ""
