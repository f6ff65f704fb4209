"""A target's circuit breaker: closed, open, half-open. Judged by each worker, in force for all of the machine.

Source of the pattern: M. Nygard, *Release It!*, 2nd ed., chapter 5; the window counts calls, not seconds, so that it
judges as soon as there are calls enough, at any rate of them.
"""

from trimtab.types import Breaker as Rules
from trimtab.types import BreakerState

from .board import Board, pack, place_of, unpack

_CLAIM_S = 2.0
"""How long one probe keeps others away; one that says nothing by then is followed by the next."""
_HICCUP_S = 0.1
"""Slow calls count once in so long: all that are under way are late together when anything hiccups once."""
_FAR_S = 60.0
"""No word lies further ahead than this: one that does was written before the machine was started anew."""


class Breaker:
    """Decides whether a target may be asked. The usual case is `board.words[place] == 0`: closed."""

    __slots__ = ("_bad", "_row", "_rules", "_seen", "_since", "_slow_at", "_tag", "_words", "opened", "place")

    def __init__(self, label: str, rules: Rules, board: Board) -> None:
        self.place, self._tag = place_of(label)
        self._words = board.words
        self._rules = rules
        self._bad = 0
        """One bit a call, the latest lowest: 1 where it was bad."""
        self._seen = 0
        self._row = 0
        self._since = 0.0
        """Calls begun before this were begun before the breaker last opened, and say nothing new."""
        self._slow_at = -_HICCUP_S
        """When the last slow call was counted."""
        self.opened = 0
        """Times that this process opened it."""

    def obey(self, rules: Rules) -> None:
        """Judge by other rules from now on."""
        self._rules = rules

    # --- may it be asked? -----------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether calls may go there freely. No cost worth counting."""
        word = self._words[self.place]
        return not word or word & 0xFFFF != self._tag or not self._rules.enabled

    def state(self, now: float) -> tuple[BreakerState, float]:
        """Return the state, and the seconds until it may be asked again, where it is open."""
        if self.closed:
            return "closed", 0.0
        left = unpack(self._words[self.place])[0] - now
        return ("open", left) if 0 < left < _FAR_S else ("half_open", 0.0)

    def badness(self, now: float) -> tuple[int, float]:
        """Return what orders breakers that are all open: how often in a row it opened, and for how long it is."""
        until, opens, _, _ = unpack(self._words[self.place])
        return (0, 0.0) if self.closed else (opens, until - now)

    def claim(self, now: float) -> bool:
        """Take the probe of a half-open breaker; False where it is open, or another call probes."""
        until, opens, wins, _ = unpack(self._words[self.place])
        self._since = now  # the next probe's call begins after this
        if 0 < until - now < _FAR_S:
            return False
        self._words[self.place] = pack(now + _CLAIM_S, opens, wins, self._tag)
        return True

    # --- how did it go? -------------------------------------------------------------------------------------

    def good(self) -> None:
        """Note a good call."""
        self._seen += 1
        if self._bad:
            self._bad = self._bad << 1 & _MASK
            self._row = 0

    def slow(self, began: float, now: float) -> None:
        """Note a call, begun at `began`, that was slow, unless another one was so a moment ago."""
        if now - self._slow_at >= _HICCUP_S:
            self._slow_at = now
            self.bad(began, now)

    def bad(self, began: float, now: float) -> None:
        """Note a call, begun at `began`, that failed; open where it is one too many."""
        rules = self._rules
        if not rules.enabled or began < self._since or not self.closed:
            return
        self._bad = self._bad << 1 & _MASK | 1
        self._seen += 1
        self._row += 1
        enough = self._seen >= rules.min_calls and self.share() >= rules.bad_share
        if enough or self._row >= rules.in_a_row:
            self._open(now, 1)

    def probed(self, now: float, *, well: bool) -> None:
        """Note how a probe went: close after enough good ones, else stay open for longer."""
        until, opens, wins, tag = unpack(self._words[self.place])
        if tag != self._tag or not until:
            return  # another worker's probe has closed it meanwhile
        if not well:
            self._open(now, opens + 1)
        elif wins + 1 >= self._rules.probes:
            self._words[self.place] = 0
            self._forget()
        else:
            self._words[self.place] = pack(now, opens, wins + 1, self._tag)

    def unclaim(self, now: float) -> None:
        """Give a probe back that said nothing: its call was cancelled."""
        _, opens, wins, tag = unpack(self._words[self.place])
        if tag == self._tag:
            self._words[self.place] = pack(now, opens, wins, tag)

    def share(self) -> float:
        """Return the share of bad calls in the window, 0 to 1."""
        looked = min(self._seen, self._rules.window)
        return (self._bad & (1 << looked) - 1).bit_count() / looked if looked else 0.0

    def _open(self, now: float, opens: int) -> None:
        rules = self._rules
        held = min(rules.open_max_s, rules.open_s * 2 ** (opens - 1))
        self._words[self.place] = pack(now + held, opens, 0, self._tag)
        self.opened += 1
        self._forget()
        self._since = now

    def _forget(self) -> None:
        self._bad = self._seen = self._row = 0


_MASK = (1 << 60) - 1
