"""A collector: takes OTLP over HTTP, parses it with OpenTelemetry's own classes, and is strict about what it sees."""

import base64
import gzip
import json
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

REQUESTS = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
    "/v1/logs": ExportLogsServiceRequest,
}


@dataclass
class Answer:
    """What the collector says to one request."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    hold: threading.Event | None = None
    """Answers once this is set, or after 30 s."""


class Collector:
    """Serves until the block ends. `answers` are given in order, then 200s."""

    def __init__(self, port: int = 0) -> None:
        self.answers: deque[Answer] = deque()
        self.seen: list[tuple[str, Message]] = []
        """Everything that was answered with 200."""
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.problems: list[str] = []
        self._port = port

    def __enter__(self) -> Self:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector._take(self, body)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, *_: object) -> None:
                pass  # a client that gave up waiting is no error of ours

        self._server = Server(("127.0.0.1", self._port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def spans(self) -> list[Any]:
        return [
            span
            for path, message in list(self.seen)
            if path == "/v1/traces"
            for resource in message.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def records(self) -> list[Any]:
        return [
            record
            for path, message in list(self.seen)
            if path == "/v1/logs"
            for resource in message.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    @property
    def metrics(self) -> dict[str, Any]:
        """Metrics of the last message, by name."""
        last = [message for path, message in list(self.seen) if path == "/v1/metrics"][-1:]
        return {
            metric.name: metric
            for message in last
            for resource in message.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def call_ids(self) -> list[str]:
        """Ids of calls whose spans came, in order, as often as they came."""
        return [found for span in self.spans if (found := facts(span).get("trimtab.call.id"))]

    def _take(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        self.requests.append((handler.path, {k.lower(): v for k, v in handler.headers.items()}))
        try:
            message = parsed(handler.path, handler.headers, body)
        except Exception as error:
            self.problems.append(f"{handler.path}: {type(error).__name__}: {error}")
            self._answer(handler, Answer(400))
            return
        try:
            answer = self.answers.popleft()
        except IndexError:
            answer = Answer()
        if answer.hold is not None:
            answer.hold.wait(30)
        if answer.status == 200:
            self.seen.append((handler.path, message))
        self._answer(handler, answer)

    def _answer(self, handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(answer.body)))
        handler.end_headers()
        handler.wfile.write(answer.body)


def parsed(path: str, headers: Any, body: bytes) -> Message:
    """Parse a request as strictly as can be."""
    if headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    message = REQUESTS[path]()
    kind = headers["content-type"]
    if kind == "application/json":
        json_format.ParseDict(with_base64(json.loads(body)), message, ignore_unknown_fields=False)
    else:
        assert kind == "application/x-protobuf", kind
        message.ParseFromString(body)
    check(message)
    return message


def with_base64(tree: Any) -> Any:
    """OTLP's JSON has ids in hexadecimal, where Protocol Buffers' own JSON has base64."""
    if isinstance(tree, list):
        return [with_base64(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    ids = ("traceId", "spanId", "parentSpanId")
    return {
        name: base64.b64encode(bytes.fromhex(value)).decode() if name in ids else with_base64(value)
        for name, value in tree.items()
    }


def check(message: Message) -> None:
    """Refuse what a strict collector would: unknown fields, ids of another length, ends before starts, ..."""
    assert not len(UnknownFieldSet(message)), f"unknown fields in {type(message).__name__}"
    for descriptor, value in message.ListFields():
        if descriptor.message_type is not None:
            for inner in value if descriptor.is_repeated else [value]:
                check(inner)
    name = type(message).__name__
    if name == "Span":
        assert len(message.trace_id) == 16
        assert any(message.trace_id)
        assert len(message.span_id) == 8
        assert any(message.span_id)
        assert len(message.parent_span_id) in (0, 8)
        assert message.name
        assert message.kind
        assert 0 < message.start_time_unix_nano <= message.end_time_unix_nano
    if name == "LogRecord":
        assert message.time_unix_nano
        assert message.event_name
        assert len(message.trace_id) == 16
        assert len(message.span_id) == 8
    if name == "HistogramDataPoint":
        assert len(message.bucket_counts) == len(message.explicit_bounds) + 1
        assert sum(message.bucket_counts) == message.count
        assert list(message.explicit_bounds) == sorted(message.explicit_bounds)
        assert message.start_time_unix_nano <= message.time_unix_nano
    if name in ("Span", "LogRecord", "HistogramDataPoint", "Resource"):
        keys = [attribute.key for attribute in message.attributes]
        assert len(keys) == len(set(keys)), f"an attribute twice: {keys}"


def facts(item: Any) -> dict[str, Any]:
    """Return an item's attributes as a dict."""
    return {attribute.key: plain(attribute.value) for attribute in item.attributes}


def plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(plain(item) for item in value.array_value.values)
    return getattr(value, kind) if kind else None
