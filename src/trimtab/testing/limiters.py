"""The kit for `Limiter`: what every backend of shared limits and budgets promises."""

import asyncio
from collections.abc import Callable

from trimtab.limits import Claims, Demand, Grant, Limiter, RuleBook, period_of
from trimtab.types import BudgetExceeded, BudgetSpec, ClientGone, LimitExceeded, LimitSpec, RateLimitExceeded

from .clock import FrozenClock

_DAY_S = 86_400
_SEEN_S = 0.005


def check_limiter(make: Callable[[FrozenClock], Limiter]) -> None:
    """Check the promises of `Limiter`.

    Args:
        make: opens the limiter on one and the same state, under a clock; the first time the state is new.

    Raises:
        AssertionError: with the promise that was broken.
    """
    clock = FrozenClock(1_767_225_600_000_000)  # 2026-01-01, a Thursday
    one, other = make(clock), make(clock)
    try:
        asyncio.run(_check(one, other, clock))
    finally:
        one.close()
        other.close()


async def _check(one: Limiter, other: Limiter, clock: FrozenClock) -> None:
    await _rates(one, other, clock)
    await _tokens(one, other, clock)
    await _concurrency(one, other)
    await _budgets(one, other, clock)
    await _tail_and_strict(one)
    await _waiting(one, other)
    await _all_or_nothing(one, clock)
    await _seeding(one, other)
    await _views(one, other)


def claims(book: RuleBook, key: str = "key_a", model: str = "openai/gpt-4o", user: str = "") -> Claims:
    """Return what a book's rules claim of a call."""
    return book.claims(key, "default", "", model, user)


async def refused(limiter: Limiter, held: Claims, demand: Demand) -> LimitExceeded | None:
    """Return the error that a call is refused with; None where it is let in, and it is settled at its bound then."""
    try:
        grant = await limiter.admit(held, demand)
    except LimitExceeded as error:
        return error
    await settle(limiter, grant, demand.tokens, demand.bound_nusd)
    return None


async def settle(limiter: Limiter, grant: Grant, tokens: int, cost_nusd: int) -> None:
    """Settle, and wait as long as other processes may take to see it."""
    limiter.settle(grant, tokens, cost_nusd)
    await asyncio.sleep(_SEEN_S)


async def _rates(one: Limiter, other: Limiter, clock: FrozenClock) -> None:
    book = RuleBook([LimitSpec(name="rate", per="key", requests_per_minute=60, burst_s=3)], [])
    held = claims(book)
    for limiter in (one, other, one):
        assert await refused(limiter, held, Demand()) is None, "the burst must come in, through any process"
    error = await refused(other, held, Demand())
    assert isinstance(error, RateLimitExceeded), "what is over the burst must be refused in every process"
    assert "rate" in error.message, "a refusal must name its rule"
    assert error.retry_after_s == 1.0, "it must say when there is room again"
    assert dict(error.headers)[b"x-ratelimit-limit-requests"] == b"60", "it must carry the limit's headers"
    assert await refused(one, claims(book, "key_b"), Demand()) is None, "another key must have its own bucket"
    clock.advance(1)
    grant = await other.admit(held, Demand())
    requests, tokens = grant.states()
    assert requests is not None, "a grant must tell of its limit on requests"
    assert (requests.limit, requests.remaining) == (60, 0), "a grant must say how the limit stands"
    assert tokens is None, "a limit that is not set must not be told of"
    await settle(other, grant, 0, 0)
    clock.advance(600)
    assert sum([await refused(one, held, Demand()) is None for _ in range(9)]) == 3, (
        "after a long pause the burst must come in, and no more"
    )


async def _tokens(one: Limiter, other: Limiter, clock: FrozenClock) -> None:
    book = RuleBook([LimitSpec(name="tokens", tokens_per_minute=6000, burst_s=10)], [])
    held = claims(book)
    grant = await one.admit(held, Demand(tokens=900))
    error = await refused(other, held, Demand(tokens=200))
    assert isinstance(error, RateLimitExceeded), "tokens held by estimate must count at once"
    await settle(one, grant, 100, 0)
    assert await refused(other, held, Demand(tokens=800)) is None, "what was not used must be given back"
    clock.advance(60)
    assert await refused(one, held, Demand(tokens=6000)) is None, (
        "a full bucket must let in a call beyond its size"
    )
    clock.advance(49)
    assert await refused(one, held, Demand(tokens=1)) is not None, "and what it took must be waited for"
    clock.advance(2)
    assert await refused(one, held, Demand(tokens=1)) is None, "but no longer than that"


async def _concurrency(one: Limiter, other: Limiter) -> None:
    book = RuleBook([LimitSpec(name="at-once", concurrency=2)], [])
    held = claims(book)
    grants = [await one.admit(held, Demand()), await other.admit(held, Demand())]
    assert isinstance(await refused(one, held, Demand()), RateLimitExceeded), (
        "a third call at once must be refused"
    )
    await settle(other, grants[1], 0, 0)
    await settle(other, grants[1], 0, 0)
    assert await refused(one, held, Demand()) is None, "one that ended must make room"
    third = await one.admit(held, Demand())
    assert isinstance(await refused(other, held, Demand()), RateLimitExceeded), (
        "settling twice must not make room twice"
    )
    await settle(one, third, 0, 0)
    await settle(one, grants[0], 0, 0)


def seeded(limiter: Limiter, book: RuleBook, **spent: int) -> RuleBook:
    """Seed a book's budgets of the present period, and return it."""
    for rule in book.budgets:
        limiter.seed(rule, spent or {}, *period_of(rule.period, limiter.now_us()))
    return book


async def _budgets(one: Limiter, other: Limiter, clock: FrozenClock) -> None:
    spec = BudgetSpec(name="day", amount_nusd=1000, per="key", period="day", wait_s=0.05)
    book = seeded(one, RuleBook([], [spec]))
    held, demand = claims(book), Demand(bound_nusd=400, strict_nusd=400)
    assert await refused(one, held, demand) is None
    grant = await other.admit(held, demand)
    assert grant.reserved_nusd == 400, "a grant must say what it holds"
    error = await refused(one, held, demand)
    assert isinstance(error, BudgetExceeded), "what is held by others must not be spent twice"
    await settle(other, grant, 0, 250)
    assert (await refused(one, held, Demand(bound_nusd=350, strict_nusd=350))) is None, (
        "the rest must be given back"
    )
    error = await refused(other, held, Demand(bound_nusd=1, strict_nusd=1))
    assert isinstance(error, BudgetExceeded), "a budget that is spent must refuse"
    assert error.retry_after_s == _DAY_S - clock.now_us() / 1e6 % _DAY_S, "it must say when the period ends"
    assert "day" in error.message, "it must name its rule"
    assert await refused(one, held, Demand()) is None, "a call that costs nothing may go on"
    assert await refused(one, held, Demand(priced=False)) is not None, "one of unknown price may not"
    clock.advance(_DAY_S)
    assert await refused(other, held, demand) is None, "the next period must begin with nothing spent"


async def _tail_and_strict(one: Limiter) -> None:
    book = seeded(one, RuleBook([], [BudgetSpec(name="tail", amount_nusd=1000, period="total")]))
    held = claims(book)
    assert await refused(one, held, Demand(bound_nusd=999, strict_nusd=999)) is None
    grant = await one.admit(held, Demand(bound_nusd=5000, strict_nusd=5000))
    await settle(one, grant, 0, 3000)
    assert await refused(one, held, Demand(bound_nusd=1, strict_nusd=1)) is not None, (
        "the overshoot is one call's"
    )
    strict = BudgetSpec(name="strict", amount_nusd=1000, period="total", strict=True)
    book = seeded(one, RuleBook([], [strict]))
    held = claims(book)
    error = await refused(one, held, Demand(bound_nusd=1001, strict_nusd=1001))
    assert isinstance(error, BudgetExceeded), "a strict budget must never be overshot"
    assert await refused(one, held, Demand(bound_nusd=10, strict_nusd=None)) is not None, (
        "a call without a bound must not come in under a strict budget"
    )
    soft = BudgetSpec(name="soft", amount_nusd=10, period="total", hard=False)
    held = claims(seeded(one, RuleBook([], [soft])))
    for _ in range(3):
        assert await refused(one, held, Demand(bound_nusd=50, strict_nusd=50)) is None, (
            "a soft one only notes"
        )


async def _waiting(one: Limiter, other: Limiter) -> None:
    spec = BudgetSpec(name="wait", amount_nusd=1000, period="total", wait_s=20)
    book = seeded(one, RuleBook([], [spec]))
    held, demand = claims(book), Demand(bound_nusd=900, strict_nusd=900)
    grant = await one.admit(held, demand)
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(limiter.admit(held, demand)) for limiter in (one, other)]
        left = tasks.create_task(other.admit(held, demand))
        gone = asyncio.Event()
        leaving = tasks.create_task(_leave(one, held, demand, gone))
        done, _ = await asyncio.wait([*waiting, left, leaving], timeout=0.05)
        assert not done, "what only calls under way stand in the way of must wait"
        left.cancel()
        gone.set()
        await leaving
        await settle(one, grant, 0, 10)
        done, _ = await asyncio.wait(waiting, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        assert len(done) == 1, "one that settles must let one in, in whatever process it waits"
        for limiter, task in zip((one, other), waiting, strict=True):
            if task in done:
                await settle(limiter, task.result(), 0, 10)
        await asyncio.wait(waiting, timeout=10)
        for limiter, task in zip((one, other), waiting, strict=True):
            if task not in done:
                await settle(limiter, task.result(), 0, 10)


async def _leave(limiter: Limiter, held: Claims, demand: Demand, gone: asyncio.Event) -> None:
    async def when_gone() -> None:
        await gone.wait()

    try:
        await limiter.admit(held, demand, when_gone)
    except ClientGone:
        return
    raise AssertionError("a call whose client goes must stop waiting")


async def _all_or_nothing(one: Limiter, clock: FrozenClock) -> None:
    limit = LimitSpec(name="few", requests_per_minute=1)
    book = seeded(one, RuleBook([limit], [BudgetSpec(name="much", amount_nusd=10**12, period="total")]))
    held, demand = claims(book), Demand(bound_nusd=7, strict_nusd=7)
    assert await refused(one, held, demand) is None
    for _ in range(5):
        assert isinstance(await refused(one, held, demand), RateLimitExceeded)
    [use] = one.uses(book.budgets)
    assert (use.spent_nusd, use.reserved_nusd) == (7, 0), (
        "a call that one rule refuses must not count at another"
    )
    clock.advance(61)


async def _seeding(one: Limiter, other: Limiter) -> None:
    spec = BudgetSpec(name="known", amount_nusd=1000, per="key", period="total", wait_s=0.05)
    book = RuleBook([], [spec])
    held, demand = claims(book), Demand(bound_nusd=300, strict_nusd=300)
    assert other.unseeded(book.budgets) == list(book.budgets), "a budget must be unseeded at first"
    assert await refused(one, held, demand) is not None, "what may be spent already must not be spent again"
    seeded(one, book, key_a=800)
    assert not other.unseeded(book.budgets), "once seeded, it is so for all processes"
    grant: Grant = await other.admit(held, Demand(bound_nusd=200, strict_nusd=200))
    await settle(other, grant, 0, 200)
    assert await refused(one, held, demand) is not None, "what the ledger knew must count"
    seeded(other, book, key_a=10)
    assert await refused(one, held, demand) is not None, "seeding must never take anything away"
    one.unseed(book.budgets[0])
    assert other.unseeded(book.budgets), "a budget must be seeded again when it is asked for"
    seeded(other, book)


async def _views(one: Limiter, other: Limiter) -> None:
    limit = LimitSpec(
        name="shown", per="user", concurrency=5, requests_per_minute=600, tokens_per_minute=60_000
    )
    budget = BudgetSpec(name="shown", amount_nusd=1000, per="user", period="month")
    book = seeded(one, RuleBook([limit], [budget]))
    grant = await one.admit(claims(book, user="Zoë"), Demand(tokens=10, bound_nusd=100, strict_nusd=100))
    [use] = other.uses(book.budgets)
    assert (use.rule, use.subject, use.spent_nusd, use.reserved_nusd) == ("shown", "Zoë", 0, 100)
    assert use.start_us <= other.now_us() < use.end_us, "a budget's use must name its period"
    [use] = other.uses(book.limits)
    assert (use.subject, use.under_way, use.requests_left) == ("Zoë", 1, 4), "a limit's use must be shown"
    await settle(one, grant, 10, 60)
    [use] = other.uses(book.budgets)
    assert (use.spent_nusd, use.reserved_nusd) == (60, 0), "what is settled must be shown as spent"
