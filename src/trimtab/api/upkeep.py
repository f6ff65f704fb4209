"""What upkeep comes to: the workers replaced, the demo filled."""

import msgspec


class Restarted(msgspec.Struct, frozen=True, kw_only=True):
    """How far a rolling restart of the workers is."""

    replaced: int
    """Workers that a new one has taken over from; the old ones finish their calls."""
    done: bool
    """False: it goes on."""
    error: str = ""
    """Why it was given up; the workers that were there go on."""


class DemoFilled(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a wish to fill the demo."""

    calls: int
    """Written now; 0: it is there already."""
    feedback: int = 0
    replaced: int = 0
    """Calls of an older demo that gave way."""
