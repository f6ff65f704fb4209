"""What leaves as OTLP: parsed by OpenTelemetry's own classes, in both encodings, whatever a call holds."""

import json
import string

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from rigs.collector import Answer, check, facts, with_base64
from trimtab.telemetry import Batch, SinkRefused, SinkUnavailable
from trimtab.telemetry.otlp import call_spans, in_share, partial_success, place_of, sink, to_json, to_protobuf
from trimtab.telemetry.otlp.trees import resource_tree, whole
from trimtab.testing.calls import sample_call, unfinished
from trimtab.types import ConfigError, SpanEnded, new_id

OUTER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def make(collector, context, **options):
    return sink({"endpoint": collector.url, **options}, context)


async def send(made, *calls, spans=()):
    try:
        return await made.send(Batch(calls=calls, spans=spans))
    finally:
        await made.aclose()


def ended(**changes):
    given = {
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "span_id": "b7ad6b7169203331",
        "parent_id": "",
        "name": "answer",
        "project": "default",
        "started_us": 1,
        "ended_us": 5,
        "error": "",
        "attributes": b'{"secret":"word","n":3,"deep":{"a":[1]}}',
    }
    return SpanEnded(**given | changes)


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
@pytest.mark.parametrize("compression", ["gzip", "none"])
async def test_a_call_is_a_span_in_the_applications_trace_and_its_attempts_are_children(
    collector, context, encoding, compression
):
    call = sample_call()
    await send(make(collector, context, encoding=encoding, compression=compression), call)
    span, first, second = collector.spans
    assert span.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert span.parent_span_id.hex() == "b7ad6b7169203331"
    assert span.span_id.hex() == call.id.replace("-", "")[16:]
    assert (span.name, span.kind, span.status.code) == ("chat gpt-4o", 3, 0)
    assert span.start_time_unix_nano == call.opened.opened_us * 1000
    assert span.end_time_unix_nano == call.closed.closed_us * 1000
    found = facts(span)
    assert found["gen_ai.operation.name"] == "chat"
    assert found["gen_ai.provider.name"] == "openai"
    assert found["gen_ai.request.model"] == "gpt-4o"
    assert found["gen_ai.response.model"] == "gpt-4o-2024-08-06"
    assert found["gen_ai.response.finish_reasons"] == ("stop",)
    assert found["gen_ai.usage.input_tokens"] == 57
    assert found["gen_ai.usage.output_tokens"] == 27
    assert found["gen_ai.usage.cache_read.input_tokens"] == 10
    assert found["gen_ai.response.time_to_first_chunk"] == pytest.approx(0.201)
    assert found["trimtab.call.id"] == call.id
    assert found["trimtab.cost_nusd"] == 24_750
    assert "error.type" not in found
    for number, child in enumerate((first, second), 1):
        assert child.trace_id == span.trace_id
        assert child.parent_span_id == span.span_id
        assert facts(child)["trimtab.attempt.number"] == number
    assert (first.status.code, facts(first)["error.type"]) == (2, "rate_limited")
    assert facts(first)["http.response.status_code"] == 429
    assert second.status.code == 0
    assert len({span.span_id, first.span_id, second.span_id}) == 3


async def test_who_sends_is_said_and_may_be_changed(collector, context):
    made = make(collector, context, resource={"service.name": "shop", "deployment.environment.name": "prod"})
    await send(made, sample_call())
    _, message = collector.seen[0]
    found = facts(message.resource_spans[0].resource)
    assert found["service.name"] == "shop"
    assert found["deployment.environment.name"] == "prod"
    assert found["service.instance.id"] == context.instance
    assert message.resource_spans[0].schema_url == "https://opentelemetry.io/schemas/gen-ai/1.42.0"


async def test_headers_are_expanded_and_sent(collector, context):
    await send(make(collector, context, headers={"x-api-key": "${SECRET}"}), sample_call())
    assert all(headers["x-api-key"] == "s3cret" for _, headers in collector.requests)


async def test_headers_may_come_from_a_file(collector, context, tmp_path):
    (tmp_path / "key").write_text("s3cret\n")
    await send(make(collector, context, headers={"x-api-key": f"${{file:{tmp_path}/key}}"}), sample_call())
    assert all(headers["x-api-key"] == "s3cret" for _, headers in collector.requests)


def test_a_variable_that_is_not_set_is_said_at_once(context):
    with pytest.raises(ConfigError, match="NOWHERE is not set"):
        sink({"endpoint": "http://127.0.0.1:1", "headers": {"x": "${NOWHERE}"}}, context)


async def test_no_word_leaves_unless_asked_for(collector, context):
    call = sample_call(
        state="error",
        error_code="provider_rejected",
        error_message="cannot say hippopotamus",
        question="Where is the hippopotamus?",
        response=b'{"choices":[{"message":{"role":"assistant","content":"hippopotamus"}}]}',
        variables=b'{"animal":"hippopotamus"}',
    )
    await send(make(collector, context, encoding="json"), call, spans=(ended(),))
    seen = "".join(str(message) for _, message in collector.seen)
    assert "hippopotamus" not in seen
    assert "word" not in seen
    assert collector.records
    assert collector.spans


@pytest.mark.parametrize("content", ["spans", "events"])
async def test_words_go_where_they_are_asked_for(collector, context, content):
    await send(make(collector, context, content=content), sample_call(), spans=(ended(),))
    held = collector.spans[0] if content == "spans" else collector.records[-1]
    messages = json.loads(facts(held)["gen_ai.input.messages"])
    assert messages == [{"role": "user", "parts": [{"type": "text", "content": "When is my invoice due?"}]}]
    (answer,) = json.loads(facts(held)["gen_ai.output.messages"])
    assert answer["parts"] == [{"type": "text", "content": "The invoice is due on Friday."}]
    assert facts(collector.spans[-1])["deep"] == '{"a":[1]}'
    if content == "events":
        assert "gen_ai.input.messages" not in facts(collector.spans[0])
        assert collector.records[-1].event_name == "gen_ai.client.inference.operation.details"


@pytest.mark.parametrize("policy", ["hash", "none"])
async def test_the_payload_policy_is_obeyed(collector, context, policy):
    kept = b"\x01" * 32 if policy == "hash" else b""
    call = sample_call(payload=policy, request=kept, response=kept)
    await send(make(collector, context, content="spans"), call, spans=(ended(attributes=kept),))
    assert "gen_ai.input.messages" not in facts(collector.spans[0])
    assert "gen_ai.output.messages" not in facts(collector.spans[0])


async def test_an_error_is_a_status_an_attribute_and_an_event(collector, context):
    call = sample_call(state="error", error_code="total_timeout", error_message="too late", status=504)
    await send(make(collector, context), call)
    assert collector.spans[0].status.code == 2
    assert collector.spans[0].status.message == "total_timeout"
    assert facts(collector.spans[0])["error.type"] == "total_timeout"
    (record,) = collector.records
    assert (record.event_name, record.severity_number) == ("gen_ai.client.operation.exception", 13)
    assert record.span_id == collector.spans[0].span_id
    assert facts(record)["exception.type"] == "total_timeout"


async def test_a_call_whose_process_died_is_an_error_without_a_length(collector, context):
    await send(make(collector, context), unfinished(sample_call()))
    (span,) = collector.spans
    assert span.start_time_unix_nano == span.end_time_unix_nano
    assert facts(span)["error.type"] == "unfinished"


async def test_spans_of_an_application_nest_with_the_calls(collector, context):
    await send(make(collector, context), sample_call(), spans=(ended(error="ValueError"),))
    made = collector.spans[-1]
    assert collector.spans[0].parent_span_id == made.span_id
    assert (made.kind, made.status.code, made.status.message) == (1, 2, "ValueError")


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "nonsense",
        "00-" + "0" * 32 + "-b7ad6b7169203331-01",
        "ff" + OUTER[2:],
        OUTER.upper(),
        "00-١" + OUTER[4:],
    ],
)
def test_a_trace_parent_that_is_none_begins_a_trace(parent):
    call = sample_call(trace_parent=parent)
    place = place_of(call)
    assert place.trace_id == call.id.replace("-", "")
    assert place.parent_id == ""
    assert place.sampled is None


async def test_sampling_goes_by_trace_and_the_applications_decision_wins(collector, context):
    mine = [sample_call(trace_parent="", id=new_id()) for _ in range(300)]
    theirs = sample_call(trace_parent=OUTER)
    not_theirs = sample_call(trace_parent=OUTER[:-2] + "00")
    await send(make(collector, context, sample=0.5), *mine, theirs, not_theirs)
    kept = set(collector.call_ids())
    assert theirs.id in kept
    assert not_theirs.id not in kept
    assert 100 < len(kept) < 200
    assert {call.id for call in mine if in_share(place_of(call).trace_id, 0.5)} == kept - {theirs.id}


def test_a_share_of_none_or_all():
    ids = [new_id().replace("-", "") for _ in range(100)]
    assert all(in_share(trace, 1.0) for trace in ids)
    assert not any(in_share(trace, 0.0) for trace in ids)


async def test_metrics_count_every_call_sampled_or_not(collector, context):
    made = make(collector, context, sample=0.0)
    calls = [sample_call(trace_parent="", id=new_id()) for _ in range(7)]
    await made.send(Batch(calls=tuple(calls)))
    await made.pulse({"requests": 5})
    await made.pulse({"requests": 9, "in_flight": 2})
    await made.aclose()
    assert not collector.spans
    found = collector.metrics
    (duration,) = found["gen_ai.client.operation.duration"].histogram.data_points
    assert duration.count == 7
    assert duration.sum == pytest.approx(7 * 0.812345)
    assert facts(duration)["gen_ai.request.model"] == "gpt-4o"
    tokens = {
        facts(p)["gen_ai.token.type"]: p for p in found["gen_ai.client.token.usage"].histogram.data_points
    }
    assert (tokens["input"].sum, tokens["output"].sum) == (7 * 57, 7 * 27)
    assert found["gen_ai.server.time_to_first_token"].histogram.data_points[0].count == 7
    assert found["trimtab.requests"].sum.data_points[0].as_int == 4
    assert found["trimtab.requests"].sum.is_monotonic
    assert found["trimtab.in_flight"].gauge.data_points[0].as_int == 2


async def test_made_up_models_do_not_fill_the_collectors_memory(collector, context):
    made = make(collector, context, signals=("metrics",))
    calls = tuple(sample_call(id=new_id(), model=f"openai/m{n}", model_served="") for n in range(2100))
    await made.send(Batch(calls=calls))
    await made.pulse({})
    await made.aclose()
    points = collector.metrics["gen_ai.client.operation.duration"].histogram.data_points
    assert len(points) == 2001
    assert {"otel.metric.overflow": "true"} in [facts(point) for point in points]
    assert sum(point.count for point in points) == 2100


@pytest.mark.parametrize("status", [400, 415, 422])
async def test_a_batch_that_is_no_good_is_refused_for_good(collector, context, status):
    collector.answers.append(Answer(status))
    with pytest.raises(SinkRefused, match=str(status)):
        await send(make(collector, context), sample_call())


@pytest.mark.parametrize("status", [401, 403, 404, 408, 429, 500, 502, 503, 504])
async def test_what_may_pass_is_tried_again_and_what_was_delivered_is_not_sent_twice(
    collector, context, status
):
    made = make(collector, context)
    collector.answers += [Answer(), Answer(status, headers={"Retry-After": "7"})]
    batch = Batch(calls=(sample_call(state="error", error_code="x"),))
    with pytest.raises(SinkUnavailable) as caught:
        await made.send(batch)
    assert caught.value.retry_after_s == 7
    assert (caught.value.tries is None) == (status != 500)
    await made.send(batch)
    await made.aclose()
    assert len(collector.call_ids()) == 1
    assert len(collector.records) == 1


async def test_what_is_too_large_is_halved_until_it_fits(collector, context):
    collector.answers += [Answer(413), Answer(413)]
    calls = [sample_call(id=new_id()) for _ in range(8)]
    await send(make(collector, context, signals=("traces",)), *calls)
    assert collector.call_ids() == [call.id for call in calls]
    assert len(collector.requests) == 5


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
async def test_partial_success_is_counted_and_not_sent_again(collector, context, encoding):
    said = ExportTraceServiceResponse(
        partial_success=ExportTracePartialSuccess(rejected_spans=2, error_message="too old")
    )
    as_json = b'{"partialSuccess":{"rejectedSpans":"2","errorMessage":"too old"}}'
    collector.answers.append(Answer(200, as_json if encoding == "json" else said.SerializeToString()))
    sent = await send(make(collector, context, encoding=encoding), sample_call())
    assert (sent.rejected, sent.note) == (2, "too old")


@given(st.binary(max_size=60), st.booleans())
def test_whatever_a_collector_answers_is_read_without_an_error(body, as_json):
    rejected, note = partial_success(body, as_json=as_json)
    assert isinstance(rejected, int)
    assert isinstance(note, str)


async def test_nobody_there_and_nobody_in_time(collector, context):
    made = sink({"endpoint": "http://127.0.0.1:9", "timeout_s": 5.0}, context)
    with pytest.raises(SinkUnavailable):
        await send(made, sample_call())
    import threading

    held = threading.Event()
    collector.answers.append(Answer(hold=held))
    slow = make(collector, context, timeout_s=0.2)
    try:
        with pytest.raises(SinkUnavailable, match=r"within 0\.2 s"):
            await send(slow, sample_call())
    finally:
        held.set()


texts = st.text(st.characters(codec="utf-8"), max_size=30)
numbers = st.integers(0, 2**62)


@given(
    call=st.builds(
        lambda **changes: sample_call(**changes),
        question=texts,
        model=texts,
        model_asked=texts,
        model_served=texts,
        provider=texts,
        session=texts,
        user=texts,
        tags=st.lists(texts, max_size=3).map(tuple),
        trace_parent=st.one_of(texts, st.just(OUTER)),
        error_code=st.text(string.ascii_lowercase, max_size=8),
        finish_reason=texts,
        cost_nusd=numbers,
        request=st.one_of(
            st.binary(max_size=40), st.just(b'{"messages":[{"role":"tool","content":[1,null]}]}')
        ),
        first_byte_us=st.integers(0, 10**9),
    )
)
def test_whatever_a_call_holds_both_encodings_say_the_same_to_a_strict_parser(call):
    spans = call_spans(call, words=True)
    tree = whole("Spans", "spans", spans, resource_tree({"service.name": "t", "n": -1, "f": 0.0}), "1")
    binary, textual = ExportTraceServiceRequest(), ExportTraceServiceRequest()
    binary.ParseFromString(to_protobuf("Traces", tree))
    json_format.ParseDict(with_base64(json.loads(to_json("Traces", tree))), textual)
    check(binary)
    assert binary == textual
