"""Providers that a snapshot has replaced: closed as soon as no call can use them any more, and not before."""

from weakref import ReferenceType, ref

from trimtab.types import Provider

from .state import State


class Retired:
    """Closes what generations before had.

    A call holds its generation until it is over, so a generation that nobody holds has no call. It costs calls nothing.
    """

    __slots__ = ("_generations", "_providers")

    def __init__(self) -> None:
        self._generations: list[ReferenceType[State]] = []
        """Those that were replaced, and that calls may still hold."""
        self._providers: list[tuple[Provider, tuple[ReferenceType[State], ...]]] = []
        """What no later generation has, and the generations whose calls may use it."""

    def replaced(self, old: State, new: State) -> None:
        """Note that a generation took another one's place."""
        self._generations = [*(g for g in self._generations if g() is not None), ref(old)]
        kept = set(map(id, new.providers.values()))
        users = tuple(self._generations)
        self._providers += [(p, users) for p in old.providers.values() if id(p) not in kept]

    async def close_unused(self) -> None:
        """Close the providers whose last call is over."""
        unused = [one for one, users in self._providers if all(user() is None for user in users)]
        ids = set(map(id, unused))
        self._providers = [row for row in self._providers if id(row[0]) not in ids]
        for provider in unused:
            await provider.aclose()

    async def close(self) -> None:
        """Close all of them."""
        providers, self._providers = self._providers, []
        for provider, _ in providers:
            await provider.aclose()
