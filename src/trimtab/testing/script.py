"""The script of a fake: which reply comes next."""

import threading
from collections.abc import Callable, Sequence

from .default import echo
from .reply import Ask, Scripted

Answer = Scripted | str | Callable[[Ask], Scripted | str]
"""A reply, its bare text, or a function that makes it from the request."""


class Script:
    """Decides what a fake answers; safe to share between threads and fakes.

    One answer is given to every request. A list is given in order, one answer a request; after the last,
    `then`. Without any, the script echoes.
    """

    def __init__(self, answers: Answer | Sequence[Answer] = (), *, then: Answer = echo) -> None:
        single = isinstance(answers, str | Scripted) or callable(answers)
        self._list: tuple[Answer, ...] = () if single else tuple(answers)  # type: ignore[arg-type]
        self._then: Answer = answers if single else then  # type: ignore[assignment]
        self._given = 0
        self._lock = threading.Lock()

    def next(self, ask: Ask) -> Scripted:
        """Return the reply to this request, and step on."""
        with self._lock:
            answer = self._list[self._given] if self._given < len(self._list) else self._then
            self._given += 1
        made = answer(ask) if callable(answer) else answer
        return Scripted(made) if isinstance(made, str) else made

    @property
    def given(self) -> int:
        """How many replies were taken so far."""
        return self._given


def as_script(script: "Script | Answer | Sequence[Answer] | None") -> Script:
    """Return a script from whatever a fake accepts as one."""
    if isinstance(script, Script):
        return script
    return Script() if script is None else Script(script)
