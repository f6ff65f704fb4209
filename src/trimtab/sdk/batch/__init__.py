"""Many prompts: so many at a time, failures as data, and a file to go on from after a crash."""

from .bar import Show
from .items import Batch, Failure, Item, Report
from .resume import ResumeError
from .run import AsyncBatchRun, AsyncPrompts, BatchOptions, BatchPrompt, BatchRun, Prompts

__all__ = [
    "AsyncBatchRun",
    "AsyncPrompts",
    "Batch",
    "BatchOptions",
    "BatchPrompt",
    "BatchRun",
    "Failure",
    "Item",
    "Prompts",
    "Report",
    "ResumeError",
    "Show",
]
