"""Tracing an application's own functions: spans around calls, delivered in the background."""

from .outbox import Delivery, Exporter
from .tracer import Tracer, flush, observe, span

__all__ = ["Delivery", "Exporter", "Tracer", "flush", "observe", "span"]
