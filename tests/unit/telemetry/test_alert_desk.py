"""Alerts in the control process: over the admin API, with real stores and a real receiver."""

import http.server
import json
import threading

import pytest

from rigs.control import ADMIN, EDITOR, ControlRig
from trimtab.storage.sqlite import open_call_store
from trimtab.telemetry.alerts import new_secret
from trimtab.testing import FrozenClock
from trimtab.testing.calls import NOON_MS, sample_call
from trimtab.types import new_id


class Receiver:
    """Takes webhooks; answers what stands in `answers`, then 204."""

    def __enter__(self):
        self.got, self.answers = [], []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.got.append(
                    (self.headers["webhook-id"], self.headers["webhook-signature"], json.loads(body))
                )
                self.send_response(receiver.answers.pop(0) if receiver.answers else 204)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver():
    with Receiver() as running:
        yield running


@pytest.fixture
def clock():
    return FrozenClock(NOON_MS * 1000)


def rig(tmp_path, clock, config=""):
    return ControlRig(tmp_path, config, clock=clock)


def fail(site, number, *, state="error"):
    """Store calls that failed just now."""
    now_ms = site.clock.now_us() // 1000
    store = open_call_store(site.layout.calls)
    store.insert([
        sample_call(ms=now_ms, id=new_id(now_ms), state=state, error_code="x" if state == "error" else "")
        for _ in range(number)
    ])  # fmt: skip
    store.close()


def look(site):
    site.run(site.control.alerts._watching.look())


def send(site):
    site.run(site.control.alerts._watching.send_due())


FILE = """
[webhooks.ops]
url = "{url}/hook"
secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
[alerts.errors]
kind = "error_rate"
webhooks = ["ops"]
"""


def test_an_error_rate_fires_is_told_signed_and_resolves(tmp_path, clock, receiver):
    with rig(tmp_path, clock, FILE.format(url=receiver.url)) as site:
        look(site)
        assert site.ask("GET", "/api/v1/alerts").json["alerts"][0]["state"] == "unknown"
        fail(site, 30)
        look(site)
        look(site)
        send(site)
        ((delivery, signature, told),) = receiver.got
        assert told["type"] == "alert.firing"
        assert told["data"]["alert"] == "errors"
        assert (
            told["data"]["text"] == "errors: 100 % of the calls of the last 5 min failed; fires from 5 % on"
        )
        assert signature.startswith("v1,")
        (row,) = site.ask("GET", "/api/v1/alerts").json["alerts"]
        assert (row["state"], row["owner"], row["threshold"]) == ("firing", "file", 0.05)
        assert 'trimtab_alert_firing{alert="errors"} 1' in (site.layout.run / "control.prom").read_text()
        (sent,) = site.ask("GET", "/api/v1/webhooks/deliveries").json["deliveries"]
        assert (sent["id"], sent["state"], sent["status"]) == (delivery, "delivered", 204)
        clock.advance(600)
        fail(site, 100, state="ok")
        look(site)
        send(site)
        assert [told["type"] for _, _, told in receiver.got] == ["alert.firing", "alert.resolved"]
        events = site.ask("GET", "/api/v1/alerts/events").json["events"]
        assert [event["state"] for event in events] == ["resolved", "firing"]


def test_a_webhook_that_is_down_is_tried_again_under_the_same_id_over_a_restart(tmp_path, clock, receiver):
    receiver.answers += [503, 503]
    config = FILE.format(url=receiver.url)
    with rig(tmp_path, clock, config) as site:
        fail(site, 30)
        look(site)
        send(site)
        send(site)
        assert len(receiver.got) == 1
        clock.advance(6)
        send(site)
    with rig(tmp_path, clock, config) as site:
        look(site)
        clock.advance(31)
        send(site)
        assert len({delivery for delivery, _, _ in receiver.got}) == 1
        assert len(receiver.got) == 3
        (done,) = site.ask("GET", "/api/v1/webhooks/deliveries").json["deliveries"]
        assert (done["state"], done["tries"]) == ("delivered", 3)
        assert len(site.ask("GET", "/api/v1/alerts/events").json["events"]) == 1


def test_rules_of_the_store_are_added_changed_and_removed(tmp_path, clock):
    with rig(tmp_path, clock) as site:
        put = {"kind": "error_rate", "threshold": 0.2}
        assert site.ask("PUT", "/api/v1/alerts/mine", put).status == 200
        (row,) = site.ask("GET", "/api/v1/alerts").json["alerts"]
        assert (row["rule"]["name"], row["threshold"], row["clear"]) == ("mine", 0.2, pytest.approx(0.12))
        wrong = put | {"clear": 0.3}
        assert site.ask("PUT", "/api/v1/alerts/mine", wrong).json["error"]["param"] == "clear"
        assert (
            site.ask("PUT", "/api/v1/alerts/mine", put | {"webhooks": ["none"]}).json["error"]["param"]
            == "webhooks"
        )
        assert site.ask("PUT", "/api/v1/alerts/bad name", put).status == 400
        assert site.ask("PUT", "/api/v1/alerts/x", {"kind": "weather"}).status == 400
        assert site.ask("DELETE", "/api/v1/alerts/mine").status == 200
        assert site.ask("DELETE", "/api/v1/alerts/mine").status == 404
        actions = [entry.action for entry in site.run(site.control.people.audit())]
        assert actions == ["alert.remove", "alert.create"]


def test_the_files_are_read_only(tmp_path, clock, receiver):
    with rig(tmp_path, clock, FILE.format(url=receiver.url)) as site:
        assert site.ask("PUT", "/api/v1/alerts/errors", {"kind": "budget"}).status == 400
        assert site.ask("DELETE", "/api/v1/alerts/errors").status == 400
        assert site.ask("PUT", "/api/v1/webhooks/ops", {"url": "https://example.com/"}).status == 400
        assert site.ask("DELETE", "/api/v1/webhooks/ops").status == 400


def test_a_webhooks_url_and_secret_are_shown_to_nobody_and_stored_sealed(tmp_path, clock):
    secret = new_secret()
    with rig(tmp_path, clock) as site:
        body = {"url": "https://hooks.example.com/services/T0/very-secret-path", "secret": secret}
        answer = site.ask("PUT", "/api/v1/webhooks/team", body)
        assert (answer.status, answer.json["secret"]) == (200, "")
        shown = site.ask("GET", "/api/v1/webhooks")
        assert shown.json["webhooks"][0]["url"] == "https://hooks.example.com/…"
        assert shown.json["webhooks"][0]["signed"]
        audit = str(site.run(site.control.people.audit()))
        for text in (shown.raw.decode(), audit):
            assert "very-secret-path" not in text
            assert secret not in text
        # What stays is kept; a new URL makes a new secret, shown once.
        made = site.ask("PUT", "/api/v1/webhooks/team", {"url": "https://other.example.com/"}).json["secret"]
        assert made.startswith("whsec_")
        assert site.ask("PUT", "/api/v1/webhooks/team", {}).json["secret"] == ""
    for path in site.layout.root.glob("app.db*"):
        assert b"very-secret-path" not in path.read_bytes()
        assert made.encode() not in path.read_bytes()


def test_what_is_left_out_of_a_webhook_stays_as_it_is(tmp_path, clock):
    with rig(tmp_path, clock) as site:
        body = {"url": "https://hooks.example.com/services/T0", "format": "slack"}
        assert site.ask("PUT", "/api/v1/webhooks/team", body).json["secret"] == ""
        for change in ({}, {"url": "https://hooks.example.com/services/T1"}):
            assert site.ask("PUT", "/api/v1/webhooks/team", change).json["secret"] == ""
            (row,) = site.ask("GET", "/api/v1/webhooks").json["webhooks"]
            assert (row["format"], row["signed"]) == ("slack", False)
        refused = site.ask("PUT", "/api/v1/webhooks/new", {})
        assert (refused.status, refused.json["error"]["param"]) == (400, "url")


def test_only_admins_change_webhooks_and_editors_rules(tmp_path, clock):
    from trimtab.types import Forbidden

    with rig(tmp_path, clock) as site:
        site.ask("PUT", "/api/v1/webhooks/team", {"url": "https://example.com/"})
        assert ADMIN.role == "admin"
        assert EDITOR.role == "editor"
        routes = {route.name: route.role for route in __import__("trimtab.api", fromlist=["ROUTES"]).ROUTES}
        assert routes["PUT /api/v1/webhooks/{name}"] == "admin"
        assert routes["PUT /api/v1/alerts/{name}"] == "editor"
        assert Forbidden.status == 403


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x", "https://localhost/x", "https://[::1]/x"])
def test_a_webhook_of_the_store_does_not_reach_this_machine(tmp_path, clock, url):
    with rig(tmp_path, clock, "[outbound]\nprivate_addresses = true") as site:
        assert site.ask("PUT", "/api/v1/webhooks/team", {"url": url}).status == 200
    with rig(tmp_path, clock) as site:
        if "localhost" not in url:  # a name is judged when something is sent
            refused = site.ask("PUT", "/api/v1/webhooks/other", {"url": url})
            assert (refused.status, refused.json["error"]["param"]) == (400, "url")
            assert (
                "loopback address; declare this webhook in trimtab.toml" in refused.json["error"]["message"]
            )
            assert "/x" not in refused.json["error"]["message"]
        tested = site.ask("POST", "/api/v1/webhooks/team/test").json
        assert not tested["ok"]
        assert "loopback" in tested["message"]
        assert "/x" not in tested["message"]


def test_the_test_button_sends_at_once_and_is_in_the_history(tmp_path, clock, receiver):
    with rig(tmp_path, clock, FILE.format(url=receiver.url)) as site:
        tested = site.ask("POST", "/api/v1/webhooks/ops/test").json
        assert (tested["ok"], tested["status"]) == (True, 204)
        assert receiver.got[0][2]["type"] == "alert.test"
        receiver.answers.append(500)
        tested = site.ask("POST", "/api/v1/webhooks/ops/test").json
        assert (tested["ok"], tested["message"]) == (False, "answered 500")
        send(site)
        assert len(receiver.got) == 2, "a test is not tried again"
        assert [event["state"] for event in site.ask("GET", "/api/v1/alerts/events").json["events"]] == [
            "test"
        ] * 2
        assert site.ask("POST", "/api/v1/webhooks/nobody/test").status == 404


def test_what_waits_for_a_webhook_that_is_gone_is_given_up(tmp_path, clock):
    with rig(tmp_path, clock) as site:
        site.ask("PUT", "/api/v1/webhooks/team", {"url": "https://example.invalid/"})
        site.ask("PUT", "/api/v1/alerts/quiet", {"kind": "no_traffic", "webhooks": ["team"]})
        look(site)
        assert site.ask("DELETE", "/api/v1/webhooks/team").status == 200
        send(site)
        (done,) = site.ask("GET", "/api/v1/webhooks/deliveries").json["deliveries"]
        assert (done["state"], done["error"]) == ("failed", "the webhook was removed")


def test_loss_of_records_fires_at_the_first_one(tmp_path, clock):
    from trimtab.ledger import Counters

    with rig(tmp_path, clock) as site:
        site.ask("PUT", "/api/v1/alerts/lost", {"kind": "unrecorded"})
        counters = Counters(site.layout.counters, "worker-1")
        counters.add_named("unrecorded_closed", 7)
        look(site)
        clock.advance(5)
        assert site.ask("GET", "/api/v1/alerts").json["alerts"][0]["state"] == "ok"
        counters.add_named("unrecorded_closed")
        look(site)
        assert site.ask("GET", "/api/v1/alerts").json["alerts"][0]["state"] == "firing"
        counters.close()


def test_a_recorder_that_stands_still_is_noticed(tmp_path, clock):
    with rig(tmp_path, clock) as site:
        site.ask("PUT", "/api/v1/alerts/behind", {"kind": "recorder_behind"})
        seen_s = clock.now_us() / 1e6
        (site.layout.run / "recorder.prom").write_text(
            f"trimtab_recorder_seen_seconds {seen_s!r}\ntrimtab_recorder_lag_seconds 0.2\n"
        )
        look(site)
        assert site.ask("GET", "/api/v1/alerts").json["alerts"][0]["state"] == "ok"
        clock.advance(61)
        look(site)
        assert site.ask("GET", "/api/v1/alerts").json["alerts"][0]["state"] == "firing"
