"""A batch under way: prompts in, items out as they end, from code with an event loop and without."""

import asyncio
import hashlib
import os
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Sequence,
    Sized,
)
from typing import Any, Final, Self

import msgspec

from trimtab.sdk.answer import Answer
from trimtab.sdk.errors import ApiError
from trimtab.sdk.portal import Portal
from trimtab.sdk.request import Prompt, chat_body

from .bar import Bar, Show
from .items import Batch, Failure, Item, Report, Tally, failure_of
from .resume import ResumeFile
from .window import Job, Window

BatchPrompt = Prompt | dict[str, Any]
"""A user's words; a list of OpenAI chat messages; or a request of its own: `prompt` or `messages`, and any field."""

Prompts = Iterable[BatchPrompt]
AsyncPrompts = Prompts | AsyncIterable[BatchPrompt]

_RESUMED_AT_ONCE = 64
"""Earlier answers read from the file before the caller gets them: bounds memory, not speed."""

_END: Final = object()
_LATER: Final = object()


class BatchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a batch is run; the arguments of `Client.batch`."""

    system: str
    params: dict[str, Any]
    """Fields of every request, `model` among them."""
    concurrency: int
    resume: str | os.PathLike[str] | None
    progress: bool | Show

    def check(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ValueError: fewer than one call at a time, or streams.
        """
        if self.concurrency < 1:
            raise ValueError(f"concurrency is {self.concurrency}, and must be 1 or more")
        if self.params.get("stream"):
            raise ValueError("a batch takes answers whole; leave `stream` out")


class Course:
    """What both kinds of run share: taking prompts, what is known of them already, counting."""

    def __init__(
        self, post: Callable[[bytes], Awaitable[Answer]], prompts: AsyncPrompts, options: BatchOptions
    ) -> None:
        options.check()
        if isinstance(prompts, (str, bytes, dict)):
            raise TypeError("a batch takes a list (or iterator) of prompts; for a single one use `generate`")
        self._post = post
        self._prompts = prompts
        self._options = options
        self._tally = Tally()
        self._resume: ResumeFile | None = None
        self._bar: Bar | None = None
        self._began = self._ended_at = time.monotonic()
        self._next = 0
        self._pull: Callable[[], object] = lambda: _END
        self.ended = False
        """Whether the last prompt was taken."""
        self.window = Window(self._ask, options.concurrency)

    def report(self) -> Report:
        """Return how things stand."""
        until = self._ended_at if self._bar is None else time.monotonic()
        return self._tally.report(until - self._began)

    def start(self, pull: Callable[[], object]) -> None:
        """Open what is needed; `pull` returns the next prompt, `_END` or `_LATER`.

        Raises:
            ResumeError: the file cannot be used, or the prompts (where they are a sequence) are not those of it.
        """
        prompts = self._prompts
        self._pull = pull
        self._began = time.monotonic()
        self._tally.total = len(prompts) if isinstance(prompts, Sized) else None
        if self._options.resume is not None:
            self._resume = ResumeFile(self._options.resume)
            if isinstance(prompts, Sequence) and len(self._resume):
                for index, prompt in enumerate(prompts):  # refused before anything is asked
                    made = self._make(index, prompt)
                    if isinstance(made, Job):
                        self._resume.check(index, made.digest)
        self._bar = Bar(self._options.progress)

    def finish(self) -> None:
        """Close what `start` opened. What is still under way counts no more."""
        self._ended_at = time.monotonic()
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.close()
        if self._resume is not None:
            self._resume.close()

    def gather(self) -> tuple[list[Job], list[Item], bool]:
        """Take prompts: return what to ask, what is answered without, and whether to wait for an end now."""
        jobs: list[Job] = []
        items: list[Item] = []
        later = False
        while not self.ended and len(jobs) < self.window.free and len(items) < _RESUMED_AT_ONCE:
            prompt = self._pull()
            if prompt is _LATER:
                later = True
                break
            if prompt is _END:
                self.ended = True
                self._tally.total = self._next
                break
            made = self._make(self._next, prompt)
            self._next += 1
            made = self._known(made) or made if isinstance(made, Job) else made
            if isinstance(made, Job):
                jobs.append(made)
            else:
                items.append(made)
        return jobs, items, not items and (later or bool(jobs) or self.window.busy)

    def count(self, item: Item) -> Item:
        """Count an item that is about to be handed out; return it."""
        self._tally.add(item)
        if self._bar is not None and self._bar.wanted:
            self._bar.update(self.report())
        return item

    def _make(self, index: int, prompt: object) -> Job | Item:
        """Return a prompt's request; as an item where it cannot be one."""
        try:
            body = _body(prompt, self._options)
        except (TypeError, ValueError) as error:
            failure = Failure(code="invalid_request", message=str(error), retryable=False, attempts=0)
            return Item(index, failure)
        return Job(index, body, hashlib.blake2b(body, digest_size=16).hexdigest())

    def _known(self, job: Job) -> Item | None:
        if self._resume is None:
            return None
        answer = self._resume.answer(job.index, job.digest)
        return None if answer is None else Item(job.index, answer, resumed=True)

    async def _ask(self, job: Job) -> Item:
        try:
            answer = await self._post(job.body)
        except ApiError as error:
            return Item(job.index, failure_of(error))
        if self._resume is not None:
            self._resume.record(job.index, job.digest, answer)
        return Item(job.index, answer)


class BatchRun:
    """Items of a batch as they end: iterate. Leaving early, or `close`, cancels what is under way.

    New prompts are taken only as items are handed out, so neither side gets ahead of the other by more than
    `concurrency`. What was answered by then is in the resume file.
    """

    def __init__(
        self,
        post: Callable[[bytes], Awaitable[Answer]],
        prompts: Prompts,
        options: BatchOptions,
        portal: Portal,
    ) -> None:
        self._course = Course(post, prompts, options)
        self._prompts = prompts
        self._portal = portal
        self._items = self._run()

    @property
    def report(self) -> Report:
        """How things stand, or stood at the end."""
        return self._course.report()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item:
        return next(self._items)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop; what has not ended by now is cancelled."""
        self._items.close()

    def collect(self) -> Batch:
        """Wait for all, and return them in the order of the prompts."""
        with self:
            return Batch(_in_order(list(self)), self.report)

    def _run(self) -> Generator[Item, None, None]:
        course, source = self._course, iter(self._prompts)
        try:
            course.start(lambda: next(source, _END))
            while not course.ended or course.window.busy:
                jobs, items, wait = course.gather()
                if jobs or course.window.busy:
                    items += self._portal.run(course.window.turn(jobs, wait=wait))
                yield from map(course.count, items)
        finally:
            course.window.abandon()
            course.finish()


class AsyncBatchRun:
    """Items of a batch as they end: iterate with `async for`. Leaving early, or `aclose`, cancels what is under way.

    See `BatchRun`. Prompts may come from an async iterator; a plain iterator that blocks holds up the loop.
    """

    def __init__(
        self, post: Callable[[bytes], Awaitable[Answer]], prompts: AsyncPrompts, options: BatchOptions
    ) -> None:
        self._course = Course(post, prompts, options)
        self._prompts = prompts
        self._pulling: asyncio.Task[object] | None = None
        self._items = self._run()

    @property
    def report(self) -> Report:
        """How things stand, or stood at the end."""
        return self._course.report()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        return await self._items.__anext__()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop; what has not ended by now is cancelled."""
        await self._items.aclose()

    async def collect(self) -> Batch:
        """Wait for all, and return them in the order of the prompts."""
        async with self:
            return Batch(_in_order([item async for item in self]), self.report)

    async def _run(self) -> AsyncGenerator[Item, None]:
        course = self._course
        try:
            course.start(self._puller())
            while not course.ended or course.window.busy:
                jobs, items, wait = course.gather()
                items += await course.window.turn(jobs, wait=wait)
                for item in items:
                    yield course.count(item)
        finally:
            if self._pulling is not None:
                self._pulling.cancel()
            await course.window.aclose()
            course.finish()

    def _puller(self) -> Callable[[], object]:
        if isinstance(self._prompts, Iterable):
            source = iter(self._prompts)
            return lambda: next(source, _END)
        loop, later = asyncio.get_running_loop(), aiter(self._prompts)

        def pull() -> object:
            if self._pulling is None:
                # Kept until it is taken or cancelled: it cannot be lost.
                self._pulling = loop.create_task(_next(later))
                self._pulling.add_done_callback(lambda _task: self._course.window.wake())
            if not self._pulling.done():
                return _LATER
            task, self._pulling = self._pulling, None
            return task.result()

        return pull


async def _next(source: AsyncIterator[BatchPrompt]) -> object:
    return await anext(source, _END)


def _body(prompt: object, options: BatchOptions) -> bytes:
    """Return the request of one prompt.

    Raises:
        TypeError, ValueError: it is no prompt, or has no JSON form.
    """
    params = options.params
    if isinstance(prompt, dict):
        fields = dict(prompt)
        words = fields.pop("prompt", None)
        prompt = fields.pop("messages", words)
        params = {**params, **fields}
        if params.get("stream"):
            raise ValueError("a batch takes answers whole; leave `stream` out")
    if not isinstance(prompt, (str, list, tuple)):
        raise TypeError(f"a prompt is a text or a list of messages, not {type(prompt).__name__}")
    return chat_body(prompt, options.system, params, stream=False)


def _in_order(items: list[Item]) -> list[Answer | Failure]:
    return [item.result for item in sorted(items, key=lambda item: item.index)]
