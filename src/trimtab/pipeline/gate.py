"""The gate of a generation: which limits and budgets hold for a call, and what it may take at most."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from trimtab.catalog import Catalog, Price, estimate_request_tokens
from trimtab.limits import Claims, Demand, RuleBook
from trimtab.types import ConfigError, Snapshot

from .ask import Ask, Parsed

if TYPE_CHECKING:
    from .core import Core
    from .state import Plan

_int = msgspec.json.Decoder(int).decode
_BODY_BYTES: Final = 16_384
"""Up to here a request's tokens are taken from its length: three bytes each, the JSON around them included. A longer
one may carry pictures, and is looked at."""
_BYTES_PER_TOKEN: Final = 3
_MOST_TOKENS: Final = 1_000_000_000
"""No caller's number may overflow an account."""
_PRICED_FOR_US: Final = 60_000_000
"""How long prices are kept before the table is asked again: it may hold another one from a moment on."""
_PER_MILLION: Final = 1_000_000


_ANY_LENGTH: Final = Demand()


class _Rate(NamedTuple):
    """Prices in nano-USD per million tokens; of the request itself, in nano-USD."""

    input: int = 0
    output: int = 0
    request: int = 0


class _Rates(NamedTuple):
    """The highest prices of all that may answer under a plan."""

    until_us: int
    plain: _Rate
    """By which a call is reserved."""
    strict: _Rate
    """The dearest part each, beyond the long context and in every tier too: what no call can exceed."""
    bounded: bool
    """False where a provider may bill searches or texts it fetches itself, as many as it likes."""
    priced: bool
    output_tokens: int
    """The most that any of the models can answer; 0: not known of all of them."""


class Gate:
    """Knows what to ask the limiter for on behalf of calls."""

    __slots__ = ("_assumed", "_catalog", "_rates", "book")

    def __init__(self, book: RuleBook, catalog: Catalog, assumed_output_tokens: int) -> None:
        self.book = book
        self._catalog = catalog
        self._assumed = assumed_output_tokens
        self._rates: dict[str, _Rates] = {}

    @classmethod
    def of(cls, snapshot: Snapshot, catalog: Catalog) -> "Gate | None":
        """Return a snapshot's gate; None where nothing is limited."""
        if not snapshot.limits and not snapshot.budgets:
            return None
        book = RuleBook(snapshot.limits, snapshot.budgets, snapshot.keys)
        return cls(book, catalog, snapshot.policy.assumed_output_tokens)

    def asks(self, core: "Core", ask: Ask, parsed: Parsed, plan: "Plan") -> tuple[Claims, Demand] | None:
        """Return what to ask the limiter for; None where no rule holds for the call."""
        caller = ask.caller
        held = self.book.claims(caller.key, caller.project, plan.route, plan.models[0].model, parsed.user)
        if not held.limits and not held.budgets:
            return None
        if not held.counts_tokens:
            return held, _ANY_LENGTH
        body = len(ask.body)
        read = body // _BYTES_PER_TOKEN if body <= _BODY_BYTES else estimate_request_tokens(ask.body)
        if not held.budgets:
            return held, Demand(read + self._answer(ask, parsed, 0)[0])
        demand = self._demand(ask, parsed, plan, core.clock.now_us(), read)
        if not demand.priced:
            core.counts.add_named("unpriced_calls")
        return held, demand

    def _demand(self, ask: Ask, parsed: Parsed, plan: "Plan", now_us: int, read: int) -> Demand:
        rates = self._rates.get(plan.release)
        if rates is None or now_us >= rates.until_us:
            rates = self._rates[plan.release] = self._rate(plan, now_us)
        wrote, most = self._answer(ask, parsed, rates.output_tokens)
        strict = None
        if most is not None and rates.bounded:
            # A token is a byte at least; what surrounds the words is more than what separates them.
            strict = _charge(rates.strict, max(len(ask.body), read), most)
            if plan.hedge is not None:
                strict *= 2  # the request that lost is billed too
        bound = _charge(rates.plain, read, wrote)
        return Demand(read + wrote, bound, strict, rates.priced, rates.bounded)

    def _answer(self, ask: Ask, parsed: Parsed, known: int) -> tuple[int, int | None]:
        """Return how many tokens an answer may have: as it is assumed, and as it is bound; None: it is not."""
        if ask.kind != "chat":
            return 0, 0
        fields = parsed.fields
        # Of both the larger one: providers differ in which they obey.
        raw, other = fields.get("max_tokens"), fields.get("max_completion_tokens")
        most = _number(raw) if raw is not None else 0
        if other is not None:
            most = max(most, _number(other))
        choices = _number(fields["n"]) or 1 if "n" in fields else 1
        if most:
            bound = min(most * choices, _MOST_TOKENS)
            return bound, bound
        assumed = min(known, self._assumed) if known else self._assumed
        return min(assumed * choices, _MOST_TOKENS), known * choices if known else None

    def _rate(self, plan: "Plan", now_us: int) -> _Rates:
        labels = {target.label for model in plan.models for target in model.targets}
        found = [self._catalog.price(label, now_us) for label in labels]
        prices = [price for price in found if price is not None]
        every = [one for price in prices for one in _variants(price)]
        profiles = [self._catalog.profile(label) for label in labels]
        outputs = [profile.max_output_tokens if profile else 0 for profile in profiles]
        return _Rates(
            now_us + _PRICED_FOR_US,
            _Rate(
                max((price.input for price in prices), default=0),
                max((price.output for price in prices), default=0),
                max((price.request for price in prices), default=0),
            ),
            _Rate(
                max((_dearest_input(price) for price in every), default=0),
                max((_dearest_output(price) for price in every), default=0),
                max((price.request for price in every), default=0),
            ),
            not any(price.search or price.citation for price in every),
            len(prices) == len(labels),
            max(outputs) if all(outputs) else 0,
        )


def _charge(rate: _Rate, read: int, wrote: int) -> int:
    """Return what tokens cost, rounded up."""
    return rate.request - (-(read * rate.input + wrote * rate.output) // _PER_MILLION)


def _variants(price: Price) -> Iterator[Price]:
    """Yield a price, and those of it in a long context and in other tiers."""
    yield price
    for other in (price.long, *price.tiers.values()):
        if other is not None:
            yield from _variants(other)


def _dearest_input(price: Price) -> int:
    written = max(price.cache_write, price.cache_write_1h)
    return max(price.input, price.cached, written, price.audio_input, price.image_input)


def _dearest_output(price: Price) -> int:
    return max(price.output, price.reasoning, price.audio_output, price.image_output)


def _number(raw: msgspec.Raw) -> int:
    """Return a whole number of a request, within bounds; 0 where it is none: the provider will say so."""
    try:
        return max(0, min(_int(raw), _MOST_TOKENS))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return 0


def check_gate(gate: Gate | None, *, has_limiter: bool) -> None:
    """Check that rules can be obeyed here.

    Raises:
        ConfigError: there are rules, and nothing that keeps their state.
    """
    if gate is not None and not has_limiter:
        raise ConfigError("limits and budgets are configured, and this process has no limiter to keep them")
