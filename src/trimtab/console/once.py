"""A form that is sent twice does its work once."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from starlette.responses import Response

from trimtab.types import Overloaded

KEPT = 1_000
"""Forms remembered; older ones would do their work again."""

ANSWER_S = 10.0
"""How long an answer can be given again: a double click ends well within it, and an answer may hold a new key."""


class Once:
    """Remembers the forms that were sent. One a console, used on its loop."""

    def __init__(self) -> None:
        self._sent: OrderedDict[str, asyncio.Future[Response | None]] = OrderedDict()

    async def answer(
        self, form: str, work: Callable[[], Awaitable[Response]], again: Callable[[], Response]
    ) -> Response:
        """Return what `work` answers, or answered when the same form came first.

        A refused form (status 400 and more) is forgotten: it did nothing.

        Args:
            form: what makes the form this one: visitor, place, its own token and content.
            work: does it.
            again: answers a form whose work was done a while ago.
        """
        name = hashlib.sha256(form.encode()).hexdigest()
        known = self._sent.get(name)
        if known is not None:
            first = await asyncio.shield(known)
            return first or again()
        loop = asyncio.get_running_loop()
        future = self._sent[name] = loop.create_future()
        while len(self._sent) > KEPT:
            self._sent.popitem(last=False)
        try:
            response = await work()
        except BaseException as error:
            self._sent.pop(name, None)
            # Whoever sent the same form meanwhile is told the same: that it was done would be no truth.
            future.set_exception(error if isinstance(error, Exception) else _cut_short())
            future.exception()  # nobody may wait for it
            raise
        future.set_result(response)
        if response.status_code >= 400:
            self._sent.pop(name, None)
        else:
            loop.call_later(ANSWER_S, self._forget_answer, name, future)
        return response

    def _forget_answer(self, name: str, future: asyncio.Future[Response | None]) -> None:
        if self._sent.get(name) is future:
            bare = self._sent[name] = asyncio.get_running_loop().create_future()
            bare.set_result(None)


def _cut_short() -> Overloaded:
    return Overloaded(
        "the form was sent twice, and its work was cut short; see what became of it, then send it again"
    )
