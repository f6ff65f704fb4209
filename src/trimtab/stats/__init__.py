"""Pure mathematics that other rooms count on; so far the latency histogram.

Owns estimators and their packed forms.
Promises: no I/O, no clock, no randomness of its own; every estimate states its error.
Never knows what a number stands for: units are the caller's.
Entry: `LogHistogram`.
"""

from .histogram import LogHistogram

__all__ = ["LogHistogram"]
