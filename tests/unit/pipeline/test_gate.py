"""Limits and budgets around a call: what is held for it, what it is settled at, and what its caller is told."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from rigs.pipeline import Desk, Events, done
from trimtab.access import Caller
from trimtab.limits import MappedLimiter, Use, grant_headers, period_of
from trimtab.types import (
    BudgetExceeded,
    BudgetSpec,
    ClientGone,
    Closed,
    ConfigError,
    ConnectFailed,
    ContentDelta,
    Done,
    Finish,
    Frame,
    LedgerUnavailable,
    LimitSpec,
    Opened,
    RateLimitExceeded,
    StreamCut,
    Usage,
    UsageReport,
)

PRICED = {
    "format": 1,
    "version": "t",
    "models": {
        "p/m": {
            "prices": [{"from": "2020-01-01", "input": "1", "output": "10"}],
            "profile": {"max_output_tokens": 500},
        },
        "p/dear": {"prices": [{"from": "2020-01-01", "input": "5", "output": "50"}]},
        "p/free": {"prices": [{"from": "2020-01-01", "input": "0", "output": "0"}]},
    },
}
BIG = 10**15


class Booth(Desk):
    """A desk with a limiter."""

    opened_here: ClassVar[list["Booth"]] = []

    def __init__(self, folder: Path, provider: Events, *rules: LimitSpec | BudgetSpec, **more: Any) -> None:
        self.limiter = MappedLimiter(folder)
        super().__init__(
            provider,
            limits=tuple(rule for rule in rules if isinstance(rule, LimitSpec)),
            budgets=tuple(rule for rule in rules if isinstance(rule, BudgetSpec)),
            **{"catalog": PRICED, **more},
        )
        self.core.limiter = self.limiter
        for rule in self.budgets:
            self.limiter.seed(rule, {}, *period_of(rule.period, self.limiter.now_us()))

        self.runner = asyncio.Runner()
        """All calls of a core run on one loop."""
        self.run = self.runner.run
        Booth.opened_here.append(self)

    @property
    def budgets(self) -> Any:
        assert self.core.state.gate is not None
        return self.core.state.gate.book.budgets

    @property
    def use(self) -> Use:
        [use] = self.limiter.uses(self.budgets)
        return use

    def ledger(self) -> int:
        return sum(record.cost_nusd for record in self.log.records if isinstance(record, Closed))


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    while Booth.opened_here:
        booth = Booth.opened_here.pop()
        booth.runner.close()
        booth.limiter.close()


def budget(**fields: Any) -> BudgetSpec:
    return BudgetSpec(**{"name": "b", "amount_nusd": BIG, "period": "total", "wait_s": 0.05} | fields)


def held(tmp_path: Path, model: str = "p/m", spec: BudgetSpec | None = None, **body: Any) -> int:
    booth = Booth(tmp_path, Events(turns=[done()]), spec or budget())
    booth.run(booth.whole(model, **body))
    assert booth.use.spent_nusd == booth.ledger()
    return booth.opened[0].reserved_nusd


def test_a_call_holds_its_most_and_is_settled_at_its_cost(tmp_path: Path) -> None:
    booth = Booth(tmp_path, Events(turns=[done(usage=Usage(100, 20))]), budget())

    async def run() -> None:
        async with booth.core.call(_ask(max_tokens=400)) as call:
            assert call.opened is not None
            assert booth.closed.cost_nusd == 100 * 1000 + 20 * 10_000

    booth.run(run())
    body = len(_ask(max_tokens=400).body)
    assert booth.opened[0].reserved_nusd == body // 3 * 1000 + 400 * 10_000
    assert (booth.use.spent_nusd, booth.use.reserved_nusd) == (300_000, 0)


def _ask(**body: Any) -> Any:
    from rigs.pipeline import ask

    return ask(**body)


@pytest.mark.parametrize(
    ("body", "output"),
    [
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 9}, 9),
        ({"max_tokens": 7, "max_completion_tokens": 90}, 90),
        ({"max_tokens": 70, "max_completion_tokens": 9}, 70),
        ({"max_tokens": None, "max_completion_tokens": 9}, 9),
        ({"max_tokens": 7, "n": 3}, 21),
        ({}, 500),
        ({"max_tokens": "many"}, 500),
        ({"max_tokens": -5}, 500),
        ({"max_tokens": None}, 500),
        ({"max_tokens": 10**30}, None),
        ({"n": 0}, 500),
    ],
)
def test_the_most_that_may_be_answered(tmp_path: Path, body: dict[str, Any], output: int | None) -> None:
    reserved = held(tmp_path, **body)
    read = len(_ask(**body).body) // 3 * 1000
    if output is None:
        assert reserved > 10**12, "bounded, and more than any answer"
    else:
        assert reserved == read + output * 10_000


def test_a_model_of_unknown_length_is_assumed_and_strictly_refused(tmp_path: Path) -> None:
    assert held(tmp_path / "a", "p/dear") > 4096 * 50_000
    booth = Booth(tmp_path / "b", Events(turns=[done()]), budget(strict=True))
    with pytest.raises(BudgetExceeded, match="max_tokens"):
        booth.run(booth.whole("p/dear"))
    booth.run(booth.whole("p/dear", max_tokens=5))
    booth.run(booth.whole("p/m"))


def test_unpriced_models_count_as_nothing_or_are_refused(tmp_path: Path) -> None:
    booth = Booth(tmp_path / "a", Events(turns=[done()]), budget())
    booth.run(booth.whole("p/unknown"))
    assert booth.counts.by_name["unpriced_calls"] == 1
    assert (booth.use.spent_nusd, booth.closed.price_version) == (0, "")
    booth = Booth(tmp_path / "b", Events(turns=[done()]), budget(unpriced="refuse"))
    with pytest.raises(BudgetExceeded, match="no known price"):
        booth.run(booth.whole("p/unknown"))
    booth.run(booth.whole("p/free"))
    assert booth.counts.by_name["unpriced_calls"] == 1


def test_a_refused_call_leaves_no_record_and_asks_nobody(tmp_path: Path) -> None:
    provider = Events(turns=[done()])
    booth = Booth(tmp_path, provider, LimitSpec(name="one", requests_per_minute=1))
    booth.run(booth.whole())
    with pytest.raises(RateLimitExceeded, match="'one'"):
        booth.run(booth.whole())
    with pytest.raises(RateLimitExceeded):
        booth.run(booth.stream())
    assert len(booth.log.records) == 2
    assert len(provider.asked) == 1


@pytest.mark.parametrize("turn", [StreamCut("cut"), [StreamCut("cut")], [0.0, StreamCut("cut")]])
def test_whatever_ends_a_call_gives_back_what_it_held(tmp_path: Path, turn: Any) -> None:
    booth = Booth(tmp_path, Events(turns=[turn]), budget(), LimitSpec(name="l", concurrency=1))
    for _ in range(3):
        with pytest.raises(StreamCut):
            booth.run(booth.stream())
    assert (booth.use.under_way, booth.use.reserved_nusd) == (0, 0)
    assert booth.use.spent_nusd == booth.ledger(), "what a failed call may be billed is in both"


def test_a_call_that_cannot_be_recorded_holds_nothing(tmp_path: Path) -> None:
    booth = Booth(tmp_path, Events(turns=[done()]), budget())
    booth.log.broken = lambda record: isinstance(record, Opened)
    with pytest.raises(LedgerUnavailable):
        booth.run(booth.whole())
    assert (booth.use.spent_nusd, booth.use.under_way) == (0, 0)
    booth.log.broken = lambda record: isinstance(record, Closed)
    with pytest.raises(LedgerUnavailable):
        booth.run(booth.whole(max_tokens=10))
    assert booth.use.spent_nusd == booth.opened[0].reserved_nusd, "its row is unfinished, and costs the same"
    assert booth.use.under_way == 0


def test_a_client_that_leaves_while_its_call_waits_is_let_go(tmp_path: Path) -> None:
    provider = Events(turns=[[0.3, done(usage=Usage(10, 10))]])
    booth = Booth(tmp_path, provider, budget(amount_nusd=1_100_000, wait_s=30))

    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(booth.whole(max_tokens=100))
            await asyncio.sleep(0.02)
            gone = asyncio.Event()

            async def leave() -> None:
                await gone.wait()

            from rigs.pipeline import ask

            call = booth.core.call(ask(about={"gone": leave}, max_tokens=100))
            second = tasks.create_task(call.__aenter__())
            await asyncio.sleep(0.02)
            assert not second.done(), "it waits for the first"
            gone.set()
            with pytest.raises(ClientGone):
                await asyncio.shield(second)
            third = tasks.create_task(booth.whole(max_tokens=100))
            await first
            await third

    with pytest.raises((ClientGone, ExceptionGroup)) as caught:
        booth.run(run())
    assert "ClientGone" in repr(caught.value)
    assert booth.use.under_way == 0


def test_fallbacks_are_bound_by_the_dearest_and_settled_once(tmp_path: Path) -> None:
    from trimtab.types import Release, RouteSpec, WeightedRelease

    release = Release(model="p/m", fallbacks=("p/dear",))
    provider = Events(turns=[ConnectFailed("x"), StreamCut("x"), done(usage=Usage(10, 10))])
    booth = Booth(
        tmp_path,
        provider,
        budget(route="r"),
        routes=(RouteSpec(name="r", channels={"production": (WeightedRelease(release=release.id()),)}),),
        releases={release.id(): release},
    )
    booth.run(booth.whole("route/r", max_tokens=10))
    assert booth.opened[0].reserved_nusd > 10 * 50_000, "as if the dearest answered"
    assert booth.closed.model == "p/dear"
    cut = 10 * 1000 + 10 * 10_000
    assert [a.cost_nusd for a in booth.closed.attempts] == [0, cut, 0], "what broke off may be billed too"
    assert booth.use.spent_nusd == booth.closed.cost_nusd == 10 * 5000 + 10 * 50_000 + cut


def test_other_purposes_cost_money_and_alarm_nobody(tmp_path: Path) -> None:
    booth = Booth(
        tmp_path, Events(turns=[done(usage=Usage(1000, 0))]), budget(amount_nusd=1_000_000, hard=False)
    )
    booth.run(booth.whole(about={"purpose": "eval"}))
    assert booth.use.spent_nusd == 1_000_000
    assert not (tmp_path / "events.jsonl").exists()
    booth.run(booth.whole(about={"purpose": "live"}))
    assert booth.use.spent_nusd == 2_000_000, "whoever looks has all settled first"
    assert (tmp_path / "events.jsonl").exists()


def test_a_grant_tells_of_its_limits_as_openai_does(tmp_path: Path) -> None:
    limit = LimitSpec(name="l", per="key", requests_per_minute=60, tokens_per_minute=60_000, burst_s=10)
    booth = Booth(tmp_path, Events(turns=[done()]), limit)

    async def run() -> dict[bytes, bytes]:
        async with booth.core.call(_ask(max_tokens=100, about={"caller": Caller(key="k")})) as call:
            assert call.grant is not None
            return dict(grant_headers(call.grant))

    found = booth.run(run())
    assert found[b"x-ratelimit-limit-requests"] == b"60"
    assert found[b"x-ratelimit-remaining-requests"] == b"9"
    assert found[b"x-ratelimit-reset-requests"] == b"1s"
    assert found[b"x-ratelimit-limit-tokens"] == b"60000"
    assert 9_800 < int(found[b"x-ratelimit-remaining-tokens"]) < 9_900
    assert found[b"x-ratelimit-reset-tokens"].endswith(b"ms")


def test_rules_without_a_limiter_are_refused(tmp_path: Path) -> None:
    desk = Desk(Events(turns=[done()]))
    snapshot = desk.snapshot.__class__(generation=2, budgets=(budget(),))
    with pytest.raises(ConfigError, match="no limiter"):
        desk.core.compile(snapshot)


def test_a_call_that_no_rule_holds_for_takes_nothing(tmp_path: Path) -> None:
    booth = Booth(tmp_path, Events(turns=[done()]), budget(project="other"))
    booth.run(booth.whole())
    assert booth.opened[0].reserved_nusd == 0
    assert booth.limiter.uses(booth.budgets) == []


def refused(tmp_path: Path, spec: BudgetSpec, model: str = "p/m", **body: Any) -> BudgetExceeded:
    booth = Booth(tmp_path, Events(turns=[done()]), spec)
    with pytest.raises(BudgetExceeded) as caught:
        booth.run(booth.whole(model, **body))
    return caught.value


def test_a_strict_budget_says_what_the_call_may_cost_and_whether_waiting_helps(tmp_path: Path) -> None:
    small = budget(amount_nusd=2_000_000, strict=True, period="day")
    error = refused(tmp_path / "a", small, max_tokens=500)
    assert "$0.00 is spent" in error.message
    assert "this call may cost $0.0050" in error.message, "not as if the money were gone"
    assert error.retry_after_s is None, "no day brings more than the amount"
    assert "resets" not in error.message
    booth = Booth(tmp_path / "b", Events(turns=[done(usage=Usage(0, 150))]), small)
    booth.run(booth.whole(max_tokens=180))
    with pytest.raises(BudgetExceeded, match=r"may cost .* it resets in") as caught:
        booth.run(booth.whole(max_tokens=180))
    assert 0 < (caught.value.retry_after_s or 0) <= 86_400


@pytest.mark.parametrize("part", ["search", "citation"])
def test_a_strict_budget_blames_no_max_tokens_where_searches_are_billed(tmp_path: Path, part: str) -> None:
    row = {"from": "2020-01-01", "input": "1", "output": "1", part: "5"}
    table = {"format": 1, "version": "t", "models": {"p/m": {"prices": [row]}}}
    booth = Booth(tmp_path, Events(turns=[done()]), budget(strict=True), catalog=table)
    with pytest.raises(BudgetExceeded, match="searches or citations") as caught:
        booth.run(booth.whole(max_tokens=5))
    assert "neither `max_tokens`" not in caught.value.message
    assert caught.value.retry_after_s is None


def test_where_waiting_does_not_help_nobody_is_told_to_wait(tmp_path: Path) -> None:
    unpriced = refused(tmp_path / "a", budget(unpriced="refuse", period="month"), "p/unknown")
    unbounded = refused(tmp_path / "b", budget(strict=True, period="month"), "p/dear")
    for error in (unpriced, unbounded):
        assert error.retry_after_s is None
        assert "resets" not in error.message


def test_a_strict_budget_holds_both_requests_of_a_hedged_call(tmp_path: Path) -> None:
    from trimtab.types import Hedge, Release, RouteSpec, WeightedRelease

    release = Release(model="p/m")
    channels = {"production": (WeightedRelease(release=release.id()),)}
    reserved = []
    for hedge in (None, Hedge(after_ms=1000)):
        routes = (RouteSpec(name="r", channels=channels, hedge=hedge),)
        booth = Booth(
            tmp_path / f"{hedge is None}",
            Events(turns=[done()]),
            budget(strict=True),
            routes=routes,
            releases={release.id(): release},
        )
        booth.run(booth.whole("route/r", max_tokens=10))
        reserved.append(booth.opened[0].reserved_nusd)
    assert reserved[1] == 2 * reserved[0]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_tier_without_a_price_is_no_way_around_a_budget(tmp_path: Path, stream: bool) -> None:
    usage = Usage(100, 20, tier="priority")
    frames = [
        Frame(b"", (ContentDelta("Paris"),)),
        Frame(b"", (Finish("stop"),)),
        Frame(b"", (UsageReport(usage),)),
        Frame(b"", (Done(),)),
    ]
    booth = Booth(tmp_path, Events(turns=[frames if stream else done(usage=usage)]), budget())
    booth.run((booth.stream if stream else booth.whole)(max_tokens=50, service_tier="priority"))
    assert (booth.closed.cost_nusd, booth.closed.price_version) == (0, ""), "nobody knows what it cost"
    assert booth.use.spent_nusd == booth.opened[0].reserved_nusd > 0
    assert booth.use.reserved_nusd == 0
