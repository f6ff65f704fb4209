"""Limits and budgets as an HTTP client meets them: the status, the code, and when to come back."""

import re
from typing import Any

from trimtab.types import BudgetSpec, LimitSpec

from .conftest import Make, fake

PRICED = {
    "format": 1,
    "version": "t",
    "models": {"f/m": {"prices": [{"from": "2020-01-01", "input": "1", "output": "10"}]}},
}


def limit(**fields: Any) -> dict[str, Any]:
    return {"limits": (LimitSpec(name="calls", **fields),)}


def budget(**fields: Any) -> dict[str, Any]:
    return {"budgets": (BudgetSpec(**{"name": "spend", **fields}),), "catalog": PRICED}


def test_a_call_says_how_its_limits_stand(make: Make) -> None:
    site = make(fake("f", "m"), **limit(requests_per_minute=60, tokens_per_minute=6000, burst_s=10))
    answer = site.chat(max_tokens=10)
    assert answer.status == 200
    assert answer.headers["x-ratelimit-limit-requests"] == "60"
    assert answer.headers["x-ratelimit-remaining-requests"] == "9"
    assert re.fullmatch(r"[\d.]+m?s", answer.headers["x-ratelimit-reset-requests"])
    assert answer.headers["x-ratelimit-limit-tokens"] == "6000"
    assert 0 < int(answer.headers["x-ratelimit-remaining-tokens"]) < 1000


def test_a_call_too_many_names_the_limit_and_when_to_come_back(make: Make) -> None:
    site = make(fake("f", "m"), **limit(requests_per_minute=2))
    assert site.chat().status == 200
    for stream in (False, True):
        answer = site.chat(stream=stream)
        assert answer.status == 429
        error = answer.error
        assert (error["code"], error["type"]) == ("rate_limit_exceeded", "rate_limit_error")
        assert answer.headers["x-trimtab-error"] == "rate_limit_exceeded"
        assert "'calls' allows 2 requests a minute" in error["message"]
        assert 1 <= int(answer.headers["retry-after"]) <= 30, "whole seconds, rounded up"
        assert answer.headers["x-ratelimit-limit-requests"] == "2"
        assert answer.headers["x-ratelimit-remaining-requests"] == "0"
        assert answer.headers["x-ratelimit-reset-requests"].endswith("s")
        assert "x-trimtab-call-id" not in answer.headers, "nothing was recorded that could be looked up"


def test_tokens_too_many_are_told_of_in_headers_of_tokens(make: Make) -> None:
    site = make(fake("f", "m"), **limit(tokens_per_minute=600))
    assert site.chat(max_tokens=500).status == 200
    answer = site.chat(max_tokens=500)
    assert answer.status == 429
    assert "600 tokens a minute" in answer.error["message"]
    assert answer.headers["x-ratelimit-limit-tokens"] == "600"
    assert answer.headers["x-ratelimit-remaining-tokens"] == "0"
    assert "x-ratelimit-limit-requests" not in answer.headers
    assert int(answer.headers["retry-after"]) >= 1


def test_a_budget_that_is_spent_says_when_it_resets(make: Make) -> None:
    site = make(fake("f", "m"), **budget(amount_nusd=1, period="hour"))
    assert site.chat(max_tokens=5).status == 200, "something was left"
    answer = site.chat(max_tokens=5)
    assert answer.status == 429
    error = answer.error
    assert (error["code"], error["type"]) == ("budget_exceeded", "insufficient_quota")
    assert "'spend' allows" in error["message"]
    assert "it resets in" in error["message"]
    assert 1 <= int(answer.headers["retry-after"]) <= 3600


def test_a_budget_that_never_fits_the_call_sends_nobody_to_wait(make: Make) -> None:
    site = make(fake("f", "m"), **budget(amount_nusd=1000, period="hour", strict=True))
    for body, why in (({"max_tokens": 5000}, "may cost"), ({}, "`max_tokens`")):
        answer = site.chat(**body)
        assert answer.status == 429
        assert why in answer.error["message"]
        assert "retry-after" not in answer.headers
