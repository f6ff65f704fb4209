"""Write docs/reference/errors.md from the error classes; --check only says whether it is fresh."""

import sys
from pathlib import Path

from trimtab.types.errors import TrimtabError, all_errors

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "errors.md"

HEAD = """# Errors

<!-- Made by `make errors-page` from src/trimtab/types/errors.py: change it there. -->

Every error answer has OpenAI's shape, and a `code` that stays the same from release to release:

```json
{"error": {"message": "what was wrong, what was expected, what to do",
           "type": "invalid_request_error", "param": null, "code": "model_not_found"}}
```

*Retryable* says that the same request may succeed on another try or another target; Trimtab tries those
itself, as far as deadlines and configuration allow, before it answers with the error. Where the status is
"the provider's", its own status and body go to the caller unchanged.

| code | status | retryable | type | meaning |
|---|---|---|---|---|
"""


def page() -> str:
    """Return the page as it should be."""
    rows = [
        f"| `{cls.code}` | {status(cls)} | {retryable(cls)} | `{cls.kind}` | {meaning(cls)} |"
        for cls in sorted(all_errors(), key=lambda cls: (status(cls), cls.code))
    ]
    return HEAD + "\n".join(rows) + "\n"


def status(cls: type[TrimtabError]) -> str:
    """Return the HTTP status, which one class takes from the provider."""
    takes_it = cls.code == "provider_rejected"
    return "the provider's" if takes_it else str(cls.status)


def retryable(cls: type[TrimtabError]) -> str:
    """Return yes or no."""
    return "yes" if cls.retryable else "no"


def meaning(cls: type[TrimtabError]) -> str:
    """Return the first line of the docstring; `|` would end the cell."""
    return (cls.__doc__ or "").strip().splitlines()[0].replace("|", "\\|")


def main() -> int:
    """Write or check; 1 where the page is stale."""
    if "--check" not in sys.argv:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page():
        return 0
    print("docs/reference/errors.md is stale; run: make errors-page", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
