"""What one check found."""

from dataclasses import dataclass
from typing import Literal, Self


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `trimtab doctor`."""

    name: str
    status: Literal["OK", "WARN", "FAIL"]
    said: str
    mend: str = ""

    @classmethod
    def ok(cls, name: str, said: str) -> Self:
        """All is well."""
        return cls(name, "OK", said)

    @classmethod
    def warn(cls, name: str, said: str, mend: str) -> Self:
        """It runs, but something is missing or risky."""
        return cls(name, "WARN", said, mend)

    @classmethod
    def fail(cls, name: str, said: str, mend: str) -> Self:
        """It will not run as configured."""
        return cls(name, "FAIL", said, mend)

    def as_dict(self) -> dict[str, str]:
        """Return the stable fields of `--json`."""
        return {"name": self.name, "status": self.status, "said": self.said, "mend": self.mend}
