"""The Python client: ask the gateway for text, streams, embeddings, and send feedback.

Owns `Client` and `AsyncClient`, what they return and what they raise, and the `Transport` port below them.
Promises: a cut stream raises, it never just ends; leaving a stream cancels the call upstream; a chat call is
sent again only where it certainly was not answered; the key goes to the base URL, and into no text.
Never reads configuration files, and makes no connection before the first call.
Entry: `Client`, `AsyncClient`.
"""

from .aio import AsyncClient, AsyncStream
from .answer import Answer, Embeddings, ToolCall
from .client import Client, Stream
from .errors import ApiError, CallTimedOut, GatewayLost, GatewayUnreachable, MalformedAnswer, StreamBroken
from .request import FeedbackFields, Prompt
from .transport import HttpReply, HttpRequest, HttpTransport, Transport

__all__ = [
    "Answer",
    "ApiError",
    "AsyncClient",
    "AsyncStream",
    "CallTimedOut",
    "Client",
    "Embeddings",
    "FeedbackFields",
    "GatewayLost",
    "GatewayUnreachable",
    "HttpReply",
    "HttpRequest",
    "HttpTransport",
    "MalformedAnswer",
    "Prompt",
    "Stream",
    "StreamBroken",
    "ToolCall",
    "Transport",
]
