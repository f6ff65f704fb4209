"""The Python client: ask the gateway for text, streams, batches, embeddings; send feedback; trace own functions.

Owns `Client` and `AsyncClient`, what they return and raise, the `Transport` port below them, and the tracer.
Promises: a cut stream raises, it never just ends; leaving a stream cancels the call upstream; a chat call is
sent again only where it certainly was not answered; the key goes to the base URL, and into no text; tracing
never breaks or holds up what it traces.
Never reads configuration files, and makes no connection before the first call.
Entry: `Client`, `AsyncClient`, `observe`.
"""

from .aio import AsyncClient
from .answer import Answer, Embeddings, ToolCall
from .batch import AsyncBatchRun, Batch, BatchPrompt, BatchRun, Failure, Item, Report, ResumeError
from .client import Client, Stream
from .errors import ApiError, CallTimedOut, GatewayLost, GatewayUnreachable, MalformedAnswer, StreamBroken
from .request import FeedbackFields, Prompt
from .spans import FinishedSpan, Span, current_span, in_this_span
from .stream import AsyncStream
from .trace import Delivery, Exporter, Tracer, flush, observe, span
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
    "Delivery",
    "Embeddings",
    "Exporter",
    "Failure",
    "FeedbackFields",
    "FinishedSpan",
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
    "Span",
    "Stream",
    "StreamBroken",
    "ToolCall",
    "Tracer",
    "Transport",
    "current_span",
    "flush",
    "in_this_span",
    "observe",
    "span",
]
