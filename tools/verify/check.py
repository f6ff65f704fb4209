"""What a check is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """What finds out about some promises: a module under `checks`, or tests, one promise each."""

    about: str
    module: str = ""
    tests: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(promise, pytest's arguments); a file that is not there yet is a promise not found out."""


Checks = dict[str, Check]
