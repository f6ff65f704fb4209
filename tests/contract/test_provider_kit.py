"""The Provider port: every provider here passes the kit, and the kit catches those that break it."""

import asyncio
from contextlib import asynccontextmanager

import msgspec
import pytest

from trimtab.providers import ProviderContext, make_provider
from trimtab.testing import FakeProvider, FakeServer, Rig, check_provider
from trimtab.types import ContentDelta, Done, ProviderSpec, Usage, UsageReport
from trimtab.types.errors import ProviderFailed


def faking(kind=FakeProvider, **options):
    @asynccontextmanager
    async def make(script):
        fake = kind(script=script, **options)
        yield Rig(fake, lambda: fake.in_flight)

    return make


@asynccontextmanager
async def openai_over_a_socket(script):
    async with FakeServer(script=script) as server:
        made = make_provider(ProviderSpec(name="up", base_url=server.base_url), ProviderContext())
        try:
            yield Rig(made, lambda: server.in_flight)
        finally:
            await made.aclose()


@pytest.mark.parametrize(
    ("make", "raw"),
    [(faking(), False), (faking(raw=True), True), (openai_over_a_socket, True)],
    ids=["fake-events", "fake-raw", "openai"],
)
def test_providers_pass(make, raw):
    held = asyncio.run(check_provider(make, raw=raw))
    assert len(held) == len(set(held)) >= 15


class Frames(FakeProvider):
    """Breaks the stream it is given by `change`."""

    def change(self, frames):
        return frames

    @asynccontextmanager
    async def open(self, request):
        async with super().open(request) as reply:
            yield Changed(reply, self.change)


class Changed:
    def __init__(self, inner, change):
        self.head, self.completion, self._inner, self._change = inner.head, inner.completion, inner, change

    async def frames(self):
        async for frame in self._inner.frames():
            for changed in self._change([frame]):
                yield changed


class NoDone(Frames):
    def change(self, frames):
        return [f for f in frames if Done() not in f.events]


class LosesText(Frames):
    def change(self, frames):
        return [
            f for f in frames if not any(isinstance(e, ContentDelta) and "世" in e.text for e in f.events)
        ]


class WrongUsage(Frames):
    def change(self, frames):
        wrong = (UsageReport(Usage(input_tokens=1)),)
        return [msgspec.structs.replace(f, events=wrong) if f.usage_only else f for f in frames]


class BytesDiffer(Frames):
    def change(self, frames):
        return [msgspec.structs.replace(f, raw=f.raw.replace(b"Raw", b"Bar")) for f in frames]


class Buffers(FakeProvider):
    """Reads to the end before it lets go."""

    @asynccontextmanager
    async def open(self, request):
        async with super().open(request) as reply:
            try:
                yield reply
            finally:
                if reply.pace.between_s:
                    await asyncio.shield(asyncio.ensure_future(asyncio.sleep(1.1)))


class LeaksTheUpstream(FakeProvider):
    @asynccontextmanager
    async def open(self, request):
        try:
            async with super().open(request) as reply:
                yield reply
        finally:
            self.in_flight += 1


class OneErrorForAll(FakeProvider):
    @asynccontextmanager
    async def open(self, request):
        try:
            async with super().open(request) as reply:
                yield reply
        except Exception as e:
            raise ProviderFailed(str(e)) from e


class MixesCallers(FakeProvider):
    @asynccontextmanager
    async def open(self, request):
        if not hasattr(self, "last"):
            self.last = request
        async with super().open(self.last if request.stream else request) as reply:
            yield reply


class NoModels(FakeProvider):
    async def models(self):
        return []


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (NoDone, "last event of a clean stream is Done"),
        (LosesText, "deltas of choice 0 add up"),
        (WrongUsage, "asks for usage"),
        (BytesDiffer, "bytes and events agree"),
        (Buffers, "does not wait"),
        (LeaksTheUpstream, "closes its upstream"),
        (OneErrorForAll, "400 raises ProviderRejected"),
        (MixesCallers, "get each their own answer"),
        (NoModels, r"models\(\) lists"),
    ],
)
def test_the_kit_catches(kind, message):
    with pytest.raises(AssertionError, match=message):
        asyncio.run(check_provider(faking(kind, raw=True), raw=True))


def test_a_provider_with_bytes_must_say_so():
    with pytest.raises(AssertionError, match="without a byte dialect"):
        asyncio.run(check_provider(faking(raw=True)))
