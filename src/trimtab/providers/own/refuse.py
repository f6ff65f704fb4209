"""What the own model says to a request it cannot serve, in the shape OpenAI's clients read."""

import msgspec

from trimtab.types.errors import ProviderRejected


def refused(
    message: str, *, param: str | None = None, code: str | None = None, status: int = 400
) -> ProviderRejected:
    """Return the error for a request at fault, with its OpenAI-shaped body.

    Source of the shape: platform.openai.com/docs/guides/error-codes.
    """
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return ProviderRejected(message, status=status, body=msgspec.json.encode({"error": error}))
