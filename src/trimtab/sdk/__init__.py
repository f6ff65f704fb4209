"""The Python client: ask the gateway for text, streams, batches, embeddings; send feedback; trace own functions.

Owns `Client` and `AsyncClient`, what they return and what they raise, and the `Transport` port below them.
Promises: a cut stream raises, it never just ends; leaving a stream cancels the call upstream; a chat call is
sent again only where it certainly was not answered; the key goes to the base URL, and into no text.
Never reads configuration files, and makes no connection before the first call.
Entry: `Client`, `AsyncClient`.
"""

from .aio import AsyncClient
from .answer import Answer, Embeddings, ToolCall
from .batch import AsyncBatchRun, Batch, BatchPrompt, BatchRun, Failure, Item, Report, ResumeError
from .client import Client, Stream
from .errors import ApiError, CallTimedOut, GatewayLost, GatewayUnreachable, MalformedAnswer, StreamBroken
from .request import FeedbackFields, Prompt
from .stream import AsyncStream
from .transport import HttpReply, HttpRequest, HttpTransport, Transport

__all__ = [
    "Answer",
    "ApiError",
    "AsyncBatchRun",
    "AsyncClient",
    "AsyncStream",
    "Batch",
    "BatchPrompt",
    "BatchRun",
    "CallTimedOut",
    "Client",
    "Embeddings",
    "Failure",
    "FeedbackFields",
    "GatewayLost",
    "GatewayUnreachable",
    "HttpReply",
    "HttpRequest",
    "HttpTransport",
    "Item",
    "MalformedAnswer",
    "Prompt",
    "Report",
    "ResumeError",
    "Stream",
    "StreamBroken",
    "ToolCall",
    "Transport",
]
