"""Alerts: judged with hysteresis and a least number of calls; told signed, safely, and again until it is taken."""

import asyncio
import base64
import hashlib
import hmac
import itertools
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.stats import LogHistogram
from trimtab.storage import RollupRow
from trimtab.telemetry.alerts import (
    KINDS,
    Addressed,
    BudgetShare,
    Facts,
    Judge,
    Outcome,
    Sender,
    clear_of,
    event_body,
    new_secret,
    next_try_us,
    shown_url,
    signed_headers,
    threshold_of,
    url_problem,
)
from trimtab.types import AlertEvent, AlertRule, Delivery, new_id

S = 1_000_000
NOW = 1_790_078_400 * S


def minute(at_us, calls, errors=0, ms=100.0, project="default"):
    histogram = LogHistogram()
    histogram.add(ms, calls)
    return RollupRow(
        cube="minute_project", start_us=at_us - at_us % (60 * S), key=(project,), calls=calls, errors=errors,
        unfinished=0, estimated=0, cost_nusd=0, input_tokens=0, output_tokens=0, latency=histogram.pack(),
    )  # fmt: skip


def states(rule, facts):
    """The events of a rule over looks at facts, as `(state, number of the look)`."""
    judge = Judge()
    return [(event.state, n) for n, found in enumerate(facts) for event in judge.look([rule], found)]


def rates(*errors_of_100, step_s=60):
    return [
        Facts(now_us=NOW + n * step_s * S, minutes=(minute(NOW + n * step_s * S, 100, errors),))
        for n, errors in enumerate(errors_of_100)
    ]


def test_it_fires_at_its_threshold_and_ends_at_its_clear():
    rule = AlertRule(name="e", kind="error_rate", threshold=0.1, clear=0.05, window_s=60)
    assert states(rule, rates(0, 9, 10, 7, 12, 5, 4, 9)) == [("firing", 2), ("resolved", 6)]


@given(st.lists(st.integers(5, 9), min_size=1, max_size=40))
def test_between_the_two_edges_nothing_ever_changes(errors):
    rule = AlertRule(name="e", kind="error_rate", threshold=0.1, clear=0.05, window_s=60)
    assert states(rule, rates(*errors)) == []
    assert [state for state, _ in states(rule, rates(20, *errors))] == ["firing"]


@given(st.lists(st.integers(0, 100), max_size=60), st.integers(0, 300))
def test_firing_and_resolved_always_take_turns(errors, hold_s):
    rule = AlertRule(name="e", kind="error_rate", window_s=60, hold_s=hold_s)
    seen = [state for state, _ in states(rule, rates(*errors))]
    assert seen == ["firing", "resolved"] * (len(seen) // 2) + ["firing"] * (len(seen) % 2)


def test_it_must_hold_for_as_long_as_it_says():
    rule = AlertRule(name="e", kind="error_rate", threshold=0.1, clear=0.05, window_s=60, hold_s=120)
    assert states(rule, rates(20, 20, 0, 20, 20, 20, 0, 20, 0, 0, 0)) == [("firing", 5), ("resolved", 10)]


def test_too_few_calls_judge_nothing():
    rule = AlertRule(name="e", kind="error_rate", min_calls=50, window_s=60)
    judge = Judge()
    few = Facts(now_us=NOW, minutes=(minute(NOW, 49, 49),))
    assert judge.look([rule], few) == []
    assert judge.standings()["e"].state == "unknown"
    many = Facts(now_us=NOW, minutes=(minute(NOW, 50, 50),))
    assert [event.state for event in judge.look([rule], many)] == ["firing"]
    # While it fires, too few calls do not end it either.
    assert judge.look([rule], few) == []
    assert judge.standings()["e"].state == "firing"


def test_a_rule_looks_at_its_window_and_its_project_only():
    old, new = minute(NOW - 600 * S, 100, 100), minute(NOW, 100, 0)
    other = minute(NOW, 1000, 1000, project="other")
    rule = AlertRule(name="e", kind="error_rate", window_s=300, project="default")
    assert Judge().look([rule], Facts(now_us=NOW, minutes=(old, new, other))) == []
    everyone = msgspec.structs.replace(rule, project="")
    assert Judge().look([everyone], Facts(now_us=NOW, minutes=(old, new, other)))


def test_every_kind_fires_and_ends_on_its_own_facts():
    good = {
        "error_rate": {"minutes": (minute(NOW, 100, 0),)},
        "latency_p95": {"minutes": (minute(NOW, 100, 0, ms=500.0),)},
        "no_traffic": {"minutes": (minute(NOW, 1),)},
        "budget": {"budgets": (BudgetShare(name="b", share=0.2),)},
        "breaker_open": {},
        "unrecorded": {"unrecorded": ((NOW - 5 * S, 7), (NOW, 7))},
        "disk_free": {"disk_free": 0.5},
        "disk_budget": {"disk_budget": 0.5},
        "recorder_behind": {"recorder_lag_s": 1.0},
        "export_failing": {},
    }
    bad = {
        "error_rate": {"minutes": (minute(NOW, 100, 50),)},
        "latency_p95": {"minutes": (minute(NOW, 100, 0, ms=60_000.0),)},
        "no_traffic": {},
        "budget": {"budgets": (BudgetShare(name="a", share=0.1), BudgetShare(name="b", share=0.9))},
        "breaker_open": {"open_breakers": ("openai/gpt-4o",)},
        "unrecorded": {"unrecorded": ((NOW - 5 * S, 7), (NOW, 9))},
        "disk_free": {"disk_free": 0.01},
        "disk_budget": {"disk_budget": 0.95},
        "recorder_behind": {"recorder_lag_s": 90.0},
        "export_failing": {"failing_sinks": ("otlp",)},
    }
    assert good.keys() == bad.keys() == KINDS.keys()
    for kind in KINDS:
        rule = AlertRule(name=f"my {kind}", kind=kind)
        judge = Judge()
        assert judge.look([rule], Facts(now_us=NOW, **good[kind])) == []
        (fired,) = judge.look([rule], Facts(now_us=NOW + S, **bad[kind]))
        assert (fired.state, fired.rule, fired.kind) == ("firing", rule.name, kind)
        assert "{" not in fired.text
        assert fired.text.startswith(rule.name)
        (ended,) = judge.look([rule], Facts(now_us=NOW + 2 * S, **good[kind]))
        assert ended.state == "resolved"


def test_where_nothing_is_known_nothing_fires():
    rules = [AlertRule(name=kind, kind=kind) for kind in KINDS if kind != "no_traffic"]
    judge = Judge()
    assert judge.look(rules, Facts(now_us=NOW)) == []


@pytest.mark.parametrize("kind", KINDS)
@given(threshold=st.floats(0.001, 1e6), clear=st.one_of(st.none(), st.floats(0.001, 1e6)))
def test_the_clear_edge_never_lies_beyond_the_threshold(kind, threshold, clear):
    rule = AlertRule(name="x", kind=kind, threshold=threshold, clear=clear)
    if KINDS[kind].below:
        assert clear_of(rule) >= threshold_of(rule)
    else:
        assert clear_of(rule) <= threshold_of(rule)


def test_a_restart_neither_repeats_nor_forgets():
    rule = AlertRule(name="e", kind="error_rate", window_s=60)
    (bad,), (good,) = rates(50), rates(0)
    judge = Judge()
    events = judge.look([rule], bad)
    again = Judge(events)
    assert again.look([rule], bad) == []
    assert [event.state for event in again.look([rule], good)] == ["resolved"]


def test_a_rule_that_is_removed_or_disabled_while_it_fires_is_over():
    rule = AlertRule(name="e", kind="error_rate", window_s=60)
    (bad,) = rates(50)
    for left in ([], [msgspec.structs.replace(rule, enabled=False)]):
        judge = Judge()
        judge.look([rule], bad)
        (event,) = judge.look(left, bad)
        assert event.state == "resolved"
        assert "removed or disabled" in event.text
        assert judge.look(left, bad) == []


# Telling


def event(**changes):
    given = {
        "id": new_id(), "at_us": NOW, "rule": "errors", "kind": "error_rate", "state": "firing", "value": 0.5,
        "threshold": 0.1, "text": "errors: 50 % <b> & more",
    }  # fmt: skip
    return AlertEvent(**given | changes)


class Receiver:
    """Takes webhooks."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.got = []

    def __enter__(self):
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.got.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                status, headers = receiver.answers.pop(0) if receiver.answers else (204, {})
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def send(url, *, secret="", form="standard", reach="any", delivery=None):
    delivery = delivery or Delivery(id=new_id(), event="e", webhook="w", created_us=NOW)
    to = Addressed(url, secret, form, reach)
    return asyncio.run(Sender().send(to, delivery, event(), NOW)), delivery


def verify(secret, headers, body):
    """As a receiver does: the reference implementation of Standard Webhooks, in few words."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
    return f"v1,{wanted}" in headers["webhook-signature"].split(" ")


def test_a_receiver_can_verify_what_came():
    secret = new_secret()
    with Receiver() as receiver:
        outcome, delivery = send(receiver.url + "/in?token=a%20b", secret=secret)
    assert outcome == Outcome(204, "", False)
    ((path, headers, body),) = receiver.got
    assert path == "/in?token=a%20b"
    assert headers["webhook-id"] == delivery.id
    assert headers["content-type"] == "application/json"
    assert verify(secret, headers, body)
    assert not verify(secret, headers, body + b" ")
    told = json.loads(body)
    assert told["type"] == "alert.firing"
    assert told["timestamp"] == "2026-09-22T12:00:00.000Z"
    assert told["data"]["alert"] == "errors"


def test_the_signature_of_the_specification():
    """The example of the Standard Webhooks specification."""
    headers = dict(
        signed_headers(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1614265330,
            b'{"test": 2432232314}',
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        )
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_slack_gets_a_text_without_markup_of_ours_and_no_signature():
    with Receiver() as receiver:
        outcome, _ = send(receiver.url, secret="whsec_AAAA", form="slack")
    assert not outcome.error
    ((_, headers, body),) = receiver.got
    assert json.loads(body) == {"text": ":rotating_light: errors: 50 % &lt;b&gt; &amp; more"}
    assert "webhook-signature" not in headers


@pytest.mark.parametrize(
    ("status", "again"), [(200, False), (301, False), (400, False), (404, False), (410, False), (408, True),
                          (429, True), (500, True), (503, True)],
)  # fmt: skip
def test_what_is_tried_again(status, again):
    with Receiver((status, {"location": "http://127.0.0.1:1/", "retry-after": "900"})) as receiver:
        outcome, _ = send(receiver.url)
    assert len(receiver.got) == 1, "redirects are not followed"
    assert (outcome.status, outcome.again) == (status, again)
    assert bool(outcome.error) == (status != 200)


def test_nobody_there_is_tried_again():
    outcome, _ = send("http://127.0.0.1:9/x")
    assert (outcome.status, outcome.again) == (0, True)
    assert "/x" not in outcome.error


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0"])
def test_a_webhook_added_at_run_time_reaches_nothing_of_this_machine(host):
    for scheme in ("http", "https"):
        outcome, _ = send(f"{scheme}://{host}:9/x", reach="public")
        assert (outcome.status, outcome.again) == (0, False)
        assert "webhook" in outcome.error


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "10.0.0.1", "::ffff:127.0.0.1", "fd00:ec2::254", "100.64.0.1"]
)
def test_nor_does_a_name_that_leads_to_a_private_address(address, monkeypatch):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    found = [(family, socket.SOCK_STREAM, 6, "", (address, 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    outcome, _ = send("https://hooks.example.com/x", reach="public")
    assert (outcome.status, outcome.again) == (0, False)
    assert "trimtab.toml" in outcome.error


@pytest.mark.parametrize(
    "url",
    ["", "ftp://x/", "https://", "https://a b/", "https://user:pw@x/", "https://x/#f", "https://x:99999/", "x",
     "https://x/\r\nHost: y", "https://[::1/", "https://" + "x" * 3000],
)  # fmt: skip
def test_what_is_no_url(url):
    assert url_problem(url)
    outcome, _ = send(url)
    assert outcome.error
    assert "pw" not in outcome.error


def test_a_url_shows_its_host_only():
    assert shown_url("https://hooks.slack.com/services/T0/B0/secret?x=y") == "https://hooks.slack.com/…"
    assert shown_url("https://example.com") == "https://example.com"
    assert "pw" not in shown_url("https://u:pw@x/")


def test_it_is_tried_for_hours_and_then_given_up():
    again = Outcome(503, "x", again=True)
    waits = [next_try_us(n, again, 0) for n in range(1, 10)]
    assert waits[-1] is None
    assert all(a < b for a, b in itertools.pairwise(waits[:-1]))
    assert 6 * 3600 * S < sum(waits[:-1]) < 12 * 3600 * S
    assert next_try_us(1, Outcome(400, "x", again=False), 0) is None
    assert next_try_us(1, Outcome(429, "x", True, 120.0), 0) == 120 * S
    assert next_try_us(1, Outcome(429, "x", True, 1e9), 0) == 3600 * S


@given(st.text(max_size=40))
def test_any_text_makes_good_json(text):
    for form in ("standard", "slack"):
        assert json.loads(event_body(event(text=text.encode("utf-8", "replace").decode(), rule="r"), form))
