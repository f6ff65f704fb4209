"""What may be shown of the sections that hold secrets of their own, and of those that hold none."""

import json

import pytest

from trimtab.config import differences, load_config, visible

FILE = """
[providers.p]
kind = "openai"
base_url = "http://127.0.0.1:9/v1"
[routes.r]
model = "p/m"
cache_ttl_s = 60
hedge = { after_ms = 10 }
[limits.l]
key = "billing"
tokens_per_minute = 7
[budgets.b]
amount_usd = 1
key = "billing"
[telemetry.otlp]
endpoint = "http://me:s3cret-a@collector:4318"
headers = { authorization = "s3cret-b" }
proxy = "http://me:s3cret-c@proxy:1"
[telemetry.sinks.mine]
kind = "mine"
options = { where = "s3cret-d" }
[webhooks.chat]
url = "https://me:s3cret-e@hooks.example/services/s3cret-f?s3cret-g"
secret = "s3cret-h"
[webhooks.signed]
url = "https://hooks.example/x"
secret = "${file:/run/secrets/hook}"
"""


@pytest.fixture
def shown(tmp_path):
    def read(text):
        path = tmp_path / "trimtab.toml"
        path.write_text(text)
        return visible(load_config(path, env={}, data_dir=tmp_path), {})

    return read


def test_no_secret_of_telemetry_or_webhooks_is_shown(shown):
    tree = shown(FILE)
    assert "s3cret" not in json.dumps(tree)
    assert tree["telemetry"]["sinks"]["otlp"]["options"]["headers"] == {"authorization": "(hidden)"}
    assert tree["webhooks"]["chat"]["url"] == "https://hooks.example/(hidden)"
    assert tree["webhooks"]["signed"]["secret"] == "${file:/run/secrets/hook}"


def test_limits_budgets_and_what_a_route_does_are_shown_by_name(shown):
    tree = shown(FILE)
    assert (tree["limits"]["l"]["key"], tree["limits"]["l"]["tokens_per_minute"]) == ("billing", 7)
    assert tree["budgets"]["b"]["key"] == "billing"
    assert (tree["routes"]["r"]["cache_ttl_s"], tree["routes"]["r"]["hedge"]["after_ms"]) == (60, 10)


def test_a_change_of_one_rule_is_one_difference(shown):
    before, after = shown(FILE), shown(FILE.replace("tokens_per_minute = 7", "tokens_per_minute = 8"))
    assert differences(before, after) == [("limits.l.tokens_per_minute", "7", "8")]


def test_the_files_that_webhooks_and_telemetry_need_are_named(tmp_path):
    path = tmp_path / "trimtab.toml"
    path.write_text(FILE.replace("s3cret-b", "${file:/run/secrets/otlp}"))
    found = load_config(path, env={}, data_dir=tmp_path).secret_sources()
    assert {name: [source.name for source in sources] for name, sources in found.items()} == {
        "telemetry.otlp": ["/run/secrets/otlp"],
        "webhooks.signed": ["/run/secrets/hook"],
    }
