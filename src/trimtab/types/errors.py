"""The error tree. An error carries its consequences, so that no layer above needs a ladder of ifs.

TrimtabError                     internal_error            500
├── ConfigError                  config_invalid            500
├── StorageError                 storage_error             500
│   ├── FormatTooNew             format_too_new            500
│   └── FolderBusy               data_folder_busy          503
├── LedgerUnavailable            ledger_unavailable        503
├── Overloaded                   overloaded                503
├── ClientGone                   client_cancelled          499
├── LimitExceeded                limit_exceeded            429
│   ├── RateLimitExceeded        rate_limit_exceeded       429
│   └── BudgetExceeded           budget_exceeded           429
├── CallerError                  invalid_request           400
│   ├── AmbiguousModel           ambiguous_model           400
│   ├── Unauthenticated          invalid_api_key           401
│   ├── Forbidden                forbidden                 403
│   ├── NotFound                 not_found                 404
│   │   └── ModelNotFound        model_not_found           404
│   ├── MethodNotAllowed         method_not_allowed        405
│   ├── TooLarge                 request_too_large         413
│   └── WrongMediaType           unsupported_media_type    415
└── ProviderError                provider_error            502
├── ConnectFailed            provider_unreachable      502  retryable
├── TlsFailed                provider_tls_failed       502
├── AddressRefused           provider_address_refused  502
├── ConnectionLost           provider_connection_lost  502  retryable
├── ConnectTimeout           connect_timeout           504  retryable
├── FirstByteTimeout         first_byte_timeout        504  retryable
├── IdleTimeout              idle_timeout              504  retryable
├── TotalTimeout             total_timeout             504
├── MalformedReply           provider_malformed_reply  502
├── EmptyReply               provider_empty_reply      502  retryable
├── StreamCut                stream_cut                502  retryable
├── StreamError              provider_stream_error     502  retryable
├── ReplyTooLarge            provider_reply_too_large  502
├── RateLimited              rate_limited              429  retryable
├── ProviderUnavailable      provider_unavailable      503  retryable
├── ProviderFailed           provider_failed           502  retryable
├── ProviderAuthFailed       provider_auth_failed      502
├── ProviderRejected         provider_rejected         (the provider's own 4xx)
├── NoHealthyTarget          no_healthy_target         503
└── OwnModelUnavailable      own_model_unavailable     503  retryable
"""

from typing import ClassVar


class TrimtabError(Exception):
    """Root of every error Trimtab raises on purpose."""

    code: ClassVar[str] = "internal_error"
    status: int = 500
    retryable: bool = False
    """Whether the same request may succeed at the same target a little later."""
    elsewhere: bool = False
    """Whether the same request may succeed at another target or with a fallback model."""
    kind: ClassVar[str] = "api_error"
    """The `type` of an OpenAI-shaped error body."""

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s
        self.headers: tuple[tuple[bytes, bytes], ...] = ()
        """What a reply that tells of it says besides, in its headers."""


class ConfigError(TrimtabError):
    """The configuration cannot be used; the message names the key, what it holds, and the mend."""

    code = "config_invalid"


class StorageError(TrimtabError):
    """A file or database could not be read or written."""

    code = "storage_error"


class FormatTooNew(StorageError):
    """A newer Trimtab wrote this; this one refuses rather than guess."""

    code = "format_too_new"


class FolderBusy(StorageError):
    """Another process holds the data folder."""

    code, status = "data_folder_busy", 503


class LedgerUnavailable(TrimtabError):
    """The call could not be recorded, and the policy is to refuse then."""

    code, status = "ledger_unavailable", 503


class Overloaded(TrimtabError):
    """This process has as much work as it may take."""

    code, status = "overloaded", 503


class ClientGone(TrimtabError):
    """The client went away before its answer was complete."""

    code, status = "client_cancelled", 499


class LimitExceeded(TrimtabError):
    """A limit or a budget of ours refuses the call; no provider was asked."""

    code, status, kind = "limit_exceeded", 429, "rate_limit_error"


class RateLimitExceeded(LimitExceeded):
    """A limit on requests, tokens or calls at once; `Retry-After` says when there is room again."""

    code = "rate_limit_exceeded"


class BudgetExceeded(LimitExceeded):
    """A budget is spent, or what is left of it does not cover the call; `Retry-After` says when it resets."""

    code, kind = "budget_exceeded", "insufficient_quota"


class CallerError(TrimtabError):
    """The request is at fault; sending it again unchanged will not help."""

    code, status, kind = "invalid_request", 400, "invalid_request_error"


class AmbiguousModel(CallerError):
    """A bare model name that several providers serve."""

    code = "ambiguous_model"


class Unauthenticated(CallerError):
    """No key where one is needed, or one that is not known."""

    code, status, kind = "invalid_api_key", 401, "authentication_error"


class Forbidden(CallerError):
    """The key is known, but may not do this."""

    code, status, kind = "forbidden", 403, "permission_error"


class NotFound(CallerError):
    """There is nothing at this path or under this id."""

    code, status = "not_found", 404


class ModelNotFound(NotFound):
    """No provider, route or own model has this name."""

    code = "model_not_found"


class MethodNotAllowed(CallerError):
    """The path exists, under another HTTP method."""

    code, status = "method_not_allowed", 405


class TooLarge(CallerError):
    """The request body is over the limit."""

    code, status = "request_too_large", 413


class WrongMediaType(CallerError):
    """The body is not declared as JSON."""

    code, status = "unsupported_media_type", 415


class ProviderError(TrimtabError):
    """The provider did not give a usable answer."""

    code, status, kind = "provider_error", 502, "provider_error"
    elsewhere = True


class ConnectFailed(ProviderError):
    """No connection: refused, unreachable, or the name does not resolve. Nothing was sent."""

    code, retryable = "provider_unreachable", True


class TlsFailed(ProviderError):
    """The TLS handshake failed; trying again would fail again."""

    code = "provider_tls_failed"


class AddressRefused(ProviderError):
    """The provider's name leads to an address that one added at run time may not reach. Nothing was sent."""

    code = "provider_address_refused"


class ConnectionLost(ProviderError):
    """The connection broke before the answer was complete."""

    code, retryable = "provider_connection_lost", True


class ConnectTimeout(ProviderError):
    """No connection within the connect deadline."""

    code, status, retryable = "connect_timeout", 504, True


class FirstByteTimeout(ProviderError):
    """Nothing arrived within the first-byte deadline."""

    code, status, retryable = "first_byte_timeout", 504, True


class IdleTimeout(ProviderError):
    """A started answer paused for longer than the idle deadline."""

    code, status, retryable = "idle_timeout", 504, True


class TotalTimeout(ProviderError):
    """The whole call, retries and fallbacks included, ran past its deadline."""

    code, status = "total_timeout", 504


class MalformedReply(ProviderError):
    """The bytes are not what the provider's format says."""

    code = "provider_malformed_reply"


class EmptyReply(ProviderError):
    """A well-formed answer without any choice in it."""

    code, retryable = "provider_empty_reply", True


class StreamCut(ProviderError):
    """A stream ended without its end marker."""

    code, retryable = "stream_cut", True


class StreamError(ProviderError):
    """The provider reported an error inside a stream that had begun with 200."""

    code, retryable = "provider_stream_error", True


class ReplyTooLarge(ProviderError):
    """The answer is over the size limit."""

    code = "provider_reply_too_large"


class RateLimited(ProviderError):
    """The provider said 429."""

    code, status, retryable, kind = "rate_limited", 429, True, "rate_limit_error"


class ProviderUnavailable(ProviderError):
    """The provider said 503 or 529: overloaded, try later."""

    code, status, retryable = "provider_unavailable", 503, True


class ProviderFailed(ProviderError):
    """The provider said some other 5xx, or answered with something that is no answer (a redirect, say)."""

    code, retryable = "provider_failed", True


class ProviderAuthFailed(ProviderError):
    """The provider refused our key (401 or 403): a fault of the configuration, not of the caller."""

    code = "provider_auth_failed"


class ProviderRejected(ProviderError):
    """The provider found the request itself at fault; its status and body go to the caller unchanged."""

    code, kind = "provider_rejected", "invalid_request_error"

    def __init__(self, message: str, *, status: int, body: bytes = b"") -> None:
        super().__init__(message)
        self.status = status
        self.body = body
        self.elsewhere = status == 404  # the model is missing there, or its key may not see it


class NoHealthyTarget(ProviderError):
    """Every target that could answer has failed lately and is left alone for a moment. Nothing was sent."""

    code, status = "no_healthy_target", 503


class OwnModelUnavailable(ProviderError):
    """The own model is not installed, still loading, or down."""

    code, status, retryable = "own_model_unavailable", 503, True


def all_errors() -> list[type[TrimtabError]]:
    """Return every error class, root first: the reference page and its test are made from it."""
    found: list[type[TrimtabError]] = []
    todo: list[type[TrimtabError]] = [TrimtabError]
    while todo:
        cls = todo.pop(0)
        found.append(cls)
        todo.extend(cls.__subclasses__())
    return found
