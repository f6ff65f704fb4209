"""Tracing: spans nest in every kind of function, travel with calls, and get delivered or are accounted for."""

import asyncio
import inspect
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from sdk_gateway import Gateway, reply

from rigs.gateway import POLICY, GatewayRig
from trimtab.sdk import ApiError, AsyncClient, Client, Tracer, current_span, in_this_span
from trimtab.sdk.spans import Span, encoded
from trimtab.sdk.spans.shorten import LARGEST_BYTES, shorten
from trimtab.types import Opened, ProviderSpec, Snapshot, SpanEnded, parse_trace_parent


class Box:
    """An exporter that keeps spans."""

    def __init__(self):
        self.spans = []
        self.error = None
        self.gate = threading.Event()
        self.gate.set()

    async def send(self, spans):
        while not self.gate.is_set():
            await asyncio.sleep(0.001)
        if self.error is not None:
            raise self.error
        self.spans += spans
        return len(spans)

    async def aclose(self):
        pass

    def __getitem__(self, name):
        [found] = [span for span in self.spans if span.name == name]
        return found


@pytest.fixture
def box():
    return Box()


@pytest.fixture
def tracer(box):
    tracer = Tracer(exporter=box)
    yield tracer
    box.gate.set()
    tracer.close()


def test_spans_nest(tracer, box):
    @tracer.observe
    def inner():
        return current_span().trace_parent

    @tracer.observe(name="outer")
    def outer():
        with tracer.span("block", docs=3) as block:
            block.set(best="d7")
            return inner()

    inside = outer()
    assert current_span() is None
    assert tracer.flush().accepted == 3
    top, block, bottom = box["outer"], box["block"], box["test_spans_nest.inner"]
    assert top.parent_id == ""
    assert block.parent_id == top.span_id
    assert bottom.parent_id == block.span_id
    assert {top.trace_id} == {block.trace_id} == {bottom.trace_id}
    assert inside == f"00-{top.trace_id}-{bottom.span_id}-01"
    assert block.attributes == {"docs": 3, "best": "d7"}
    assert top.started_us <= block.started_us <= bottom.started_us <= bottom.ended_us <= top.ended_us


def test_an_error_is_noted_and_goes_on(tracer, box):
    @tracer.observe
    def fails():
        raise LookupError("no such document")

    with pytest.raises(LookupError):
        fails()
    tracer.flush()
    [span] = box.spans
    assert (span.error, span.attributes) == ("LookupError", {"error_message": "no such document"})


def test_arguments_and_results_only_where_they_are_wanted(tracer, box):
    class Thing:
        @tracer.observe(name="m", capture_args=True, capture_result=True)
        def method(self, question, *more, top=5, **rest):
            return {"answer": question.upper()}

        @tracer.observe(name="quiet")
        def quiet(self, secret):
            return secret

    Thing().method("why?", 1, 2, extra=None)
    Thing().quiet("s3cret")
    tracer.flush()
    assert box["m"].attributes == {
        "args": {"question": "why?", "more": [1, 2], "rest": {"extra": None}},
        "result": {"answer": "WHY?"},
    }
    assert box["quiet"].attributes == {}


def test_a_call_with_wrong_arguments_fails_as_it_would_untraced(tracer):
    @tracer.observe(capture_args=True)
    def takes_one(a):
        return a

    with pytest.raises(TypeError, match="positional argument"):
        takes_one(1, 2)


def test_functions_keep_what_they_are(tracer):
    @tracer.observe
    def plain(a: int) -> int:
        """Say."""

    @tracer.observe
    async def coroutine(): ...

    @tracer.observe
    def generator():
        yield

    @tracer.observe
    async def async_generator():
        yield

    assert (plain.__name__, plain.__doc__, str(inspect.signature(plain))) == (
        "plain",
        "Say.",
        "(a: int) -> int",
    )
    assert inspect.iscoroutinefunction(coroutine)
    assert inspect.isgeneratorfunction(generator)
    assert inspect.isasyncgenfunction(async_generator)


def test_coroutines_side_by_side_do_not_mix(tracer, box):
    @tracer.observe
    async def work(n):
        await asyncio.sleep(0.001 * (n % 3))
        with tracer.span(f"leaf-{n}"):
            await asyncio.sleep(0)
        return current_span()

    async def main():
        with tracer.span("root"):
            return await asyncio.gather(*(work(n) for n in range(20)))

    spans = asyncio.run(main())
    tracer.flush()
    root = box["root"]
    for n, span in enumerate(spans):
        assert box[f"leaf-{n}"].parent_id == span.span_id
    assert {s.parent_id for s in box.spans if s.name.endswith("work")} == {root.span_id}


def test_threads_carry_the_span_where_they_are_told_to(tracer, box):
    @tracer.observe(name="job")
    def job(n):
        return n

    with tracer.span("root"), ThreadPoolExecutor(4) as pool:
        assert list(pool.map(in_this_span(job), range(10))) == list(range(10))
    tracer.flush()
    assert {span.parent_id for span in box.spans if span.name == "job"} == {box["root"].span_id}


def test_a_generator_is_a_span_around_its_own_steps_alone(tracer, box):
    outside = []

    @tracer.observe(name="gen", capture_result=True)
    def pieces():
        got = []
        try:
            got.append((yield current_span().name))
            got.append((yield "b"))
        except KeyError:
            yield "caught"
        return got

    @tracer.observe(name="whole")
    def whole():
        return (yield from pieces())

    run = whole()
    assert next(run) == "gen"
    outside.append(current_span())
    assert run.send(1) == "b"
    assert run.throw(KeyError()) == "caught"
    outside.append(current_span())
    with pytest.raises(StopIteration) as end:
        next(run)
    assert end.value.value == [1]
    assert outside == [None, None]
    tracer.flush()
    assert box["gen"].parent_id == box["whole"].span_id
    assert box["gen"].attributes == {"result": "genbcaught"}
    assert box["gen"].error == ""


def test_an_async_generator_is_too(tracer, box):
    closed = []

    @tracer.observe(name="agen")
    async def pieces():
        try:
            sent = yield current_span().name
            try:
                yield sent
            except KeyError:
                yield "caught"
        finally:
            closed.append(current_span().name)

    async def main():
        run = pieces()
        seen = [
            await anext(run),
            current_span(),
            await run.asend("s"),
            await run.athrow(KeyError()),
            current_span(),
        ]
        with pytest.raises(StopAsyncIteration):
            await anext(run)
        async for _ in pieces():
            break  # the loop closes it soon
        async with asyncio.timeout(5):
            while len(closed) < 2:
                await asyncio.sleep(0)
        left = pieces()
        await anext(left)
        await left.aclose()
        with tracer.span("around"):
            return seen, [piece async for piece in pieces()]

    seen, whole = asyncio.run(main())
    assert seen == ["agen", None, "s", "caught", None]
    assert whole == ["agen", None]
    assert closed == ["agen"] * 4
    tracer.flush()
    spans = [span for span in box.spans if span.name == "agen"]
    assert [span.error for span in spans] == [""] * 4
    assert box["around"].span_id in {span.parent_id for span in spans}


@pytest.mark.parametrize("kind", ["gen", "agen"])
def test_a_generator_that_fails_says_so(tracer, box, kind):
    @tracer.observe(name="gen")
    def pieces():
        yield 1
        raise ValueError("broken")

    @tracer.observe(name="agen")
    async def async_pieces():
        yield 1
        raise ValueError("broken")

    async def consume():
        return [piece async for piece in async_pieces()]

    with pytest.raises(ValueError, match="broken"):
        list(pieces()) if kind == "gen" else asyncio.run(consume())
    tracer.flush()
    assert box[kind].error == "ValueError"


def test_a_trace_goes_on_from_another_process(tracer, box):
    with tracer.span("mine", trace_parent="00-" + "a" * 32 + "-" + "b" * 16 + "-01"):
        pass
    with tracer.span("own", trace_parent="nonsense"):
        pass
    tracer.flush()
    assert (box["mine"].trace_id, box["mine"].parent_id) == ("a" * 32, "b" * 16)
    assert box["own"].parent_id == ""


@pytest.mark.parametrize(
    "bad", ["", "00-x", "ff-" + "a" * 32 + "-" + "b" * 16 + "-01", "00-" + "0" * 32 + "-" + "b" * 16 + "-01"]
)
def test_what_is_no_trace_parent(bad):
    assert parse_trace_parent(bad) is None


# --- attributes ---------------------------------------------------------------------------------------------


class Rude:
    def __repr__(self):
        raise RuntimeError("never")


def test_attributes_are_bounded_whatever_they_are():
    endless = []
    endless.append(endless)
    values = {
        "endless": endless,
        "long": "x" * 100_000,
        "many": list(range(10_000)),
        "wide": {n: "y" * 3000 for n in range(1000)},
        "rude": Rude(),
        "bytes": b"\xff" * 1000,
        "odd": "\ud800",
        "huge": 1 << 70,
        "nan": float("nan"),
        "set": {1},
        "generator": (n for n in range(3)),
    }
    made = {name: shorten(value) for name, value in values.items()}
    data = encoded(made)
    assert len(data) <= LARGEST_BYTES
    read = msgspec.json.decode(data)
    assert set(read) == set(values)
    assert read["rude"] == "<Rude>"
    assert read["bytes"] == "<1000 bytes>"
    assert read["many"][-1] == "... 9950 more"
    assert read["wide"].startswith("<left out:")


# --- delivery -----------------------------------------------------------------------------------------------


def test_too_many_are_dropped_and_counted_and_the_program_never_waits(box):
    from trimtab.sdk.trace.outbox import Outbox

    box.gate.clear()
    outbox = Outbox(box, most=10)
    began = time.monotonic()
    for n in range(500):
        outbox.put(Span(f"s-{n}", None).finished())
    assert time.monotonic() - began < 1
    delivery = outbox.flush(0.05)
    assert delivery.dropped >= 280
    assert delivery.dropped + delivery.waiting == 500
    box.gate.set()
    delivery = outbox.close()
    assert (delivery.waiting, delivery.accepted) == (0, 500 - delivery.dropped)


def test_a_failure_that_may_pass_keeps_spans_and_one_that_may_not_counts_them(tracer, box):
    box.error = ApiError("later", retryable=True)
    with tracer.span("a"):
        pass
    delivery = tracer.flush()
    assert (delivery.waiting, delivery.failed, delivery.accepted) == (1, 0, 0)
    assert "later" in delivery.error
    box.error = ApiError("never", code="forbidden")
    assert tracer.flush().failed == 1
    box.error = RuntimeError("a fault of the exporter")
    with tracer.span("b"):
        pass
    assert tracer.flush().failed == 2
    box.error = None
    with tracer.span("c"):
        pass
    delivery = tracer.flush()
    assert (delivery.accepted, delivery.failed, delivery.waiting, delivery.error) == (1, 2, 0, "")


def test_without_a_gateway_nothing_breaks_and_flush_says_so_at_once():
    tracer = Tracer("http://127.0.0.1:1/v1")
    with tracer.span("a"):
        pass
    began = time.monotonic()
    delivery = tracer.flush(30)
    assert time.monotonic() - began < 10
    assert (delivery.waiting, delivery.accepted) == (1, 0)
    assert "127.0.0.1:1" in delivery.error
    tracer.close(0.1)


def test_spans_that_the_gateway_rejects_are_failed(box):
    body = {"object": "spans", "accepted": 1, "rejected": [{"index": 0, "reason": "no"}]}
    with Gateway([reply(body)]) as gateway:
        tracer = Tracer(gateway.url, "")
        with tracer.span("a"), tracer.span("b"):
            pass
        # The first goes out alone; both replies claim one span each.
        delivery = tracer.flush()
        assert delivery.waiting == 0
        assert delivery.accepted >= 1
        tracer.close()


def test_a_forked_child_has_a_queue_of_its_own(tracer, box):
    with tracer.span("before"):
        pass
    tracer.flush()
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        with tracer.span("child"):
            pass
        os.write(write, b"%d" % tracer.flush().accepted)
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    assert os.read(read, 10) == b"1"
    os.close(read)
    assert [span.name for span in box.spans] == ["before"]


# --- with a gateway -----------------------------------------------------------------------------------------


@pytest.fixture
def rig(tmp_path):
    providers = (ProviderSpec(name="f", kind="fake", models=("m",)),)
    with GatewayRig(tmp_path, Snapshot(generation=1, policy=POLICY, providers=providers)) as rig:
        yield rig


def test_calls_belong_to_the_span_they_were_made_in(rig):
    tracer = Tracer(rig.url, "")
    with Client(rig.url, "", model="f/m") as client:

        @tracer.observe(name="answer")
        def answer():
            client.generate("one")
            with client.stream("two") as pieces:
                list(pieces)
            client.batch(["three", "four"], progress=False)

        answer()
        client.generate("outside")

        @tracer.observe(name="later")
        async def later():
            async with AsyncClient(rig.url, "", model="f/m") as asking:
                await asking.generate("five")

        asyncio.run(later())
    assert tracer.close().accepted == 2
    records = rig.records()
    spans = {r.name: r for r in records if isinstance(r, SpanEnded)}
    parents = [r.trace_parent for r in records if isinstance(r, Opened)]
    mine = f"00-{spans['answer'].trace_id}-{spans['answer'].span_id}-01"
    other = f"00-{spans['later'].trace_id}-{spans['later'].span_id}-01"
    assert parents == [mine] * 4 + ["", other]


def test_a_program_that_just_ends_delivers_what_it_has(rig):
    program = (
        "import trimtab\n"
        "@trimtab.observe(capture_result=True)\n"
        "def work(): return 'done'\n"
        "for _ in range(3): work()\n"
    )
    env = {"TRIMTAB_BASE_URL": rig.url}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=env
    )
    assert done.stderr == ""
    spans = [r for r in rig.records() if isinstance(r, SpanEnded)]
    assert [(s.name, s.attributes) for s in spans] == [("work", b'{"result":"done"}')] * 3


def test_a_program_without_a_gateway_ends_soon_and_says_what_was_lost():
    program = "import trimtab\nwith trimtab.span('a'): pass\n"
    env = {"TRIMTAB_BASE_URL": "http://127.0.0.1:1/v1"}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=env
    )
    assert time.monotonic() - began < 10
    assert "1 spans were not delivered: no connection to 127.0.0.1:1" in done.stderr
