"""What `trimtab doctor` says of where secrets come from."""

import json
import socket

import pytest


@pytest.fixture
def secrets(run, place):
    def secrets(api_key: str, mode: int = 0o600) -> list[tuple[str, str, str]]:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            two.bind(("127.0.0.1", 0))
            ports = one.getsockname()[1], two.getsockname()[1]
        file = place / "trimtab.toml"
        file.write_text(
            f"[gateway]\nport = {ports[0]}\n[console]\nport = {ports[1]}\n[data]\ndir = 'data'\n"
            f"[providers.p]\napi_key = '{api_key}'\n"
        )
        file.chmod(mode)
        found = json.loads(run("doctor", "--json").out)
        return [(f["name"], f["status"], f["said"]) for f in found if f["name"].startswith("secret")]

    return secrets


def test_a_secret_file_that_everybody_may_read_is_warned_of(secrets, place):
    key = place / "key"
    key.write_text("sk-secret")
    key.chmod(0o604)
    [(name, status, said)] = secrets(f"${{file:{key}}}")
    assert (name, status) == ("secret file", "WARN")
    assert str(key) in said
    key.chmod(0o640)
    assert secrets(f"${{file:{key}}}") == []


def test_a_secret_file_that_is_not_there_fails(secrets, place):
    [(_, status, said)] = secrets(f"${{file:{place}/none}}")
    assert status == "FAIL"
    assert "No such file" in said


def test_a_command_is_looked_for_and_not_run(secrets, place):
    tool = place / "tool"
    tool.write_text(f"#!/bin/sh\ntouch {place}/ran")
    tool.chmod(0o700)
    assert secrets(f"${{cmd:{tool} x}}") == []
    assert not (place / "ran").exists()
    [(_, status, said)] = secrets("${cmd:/no/such/tool --token sk-secret}")
    assert status == "FAIL"
    assert "sk-secret" not in said


def test_a_key_written_into_a_file_that_everybody_may_read_is_warned_of(secrets):
    [(_, status, said)] = secrets("sk-secret", 0o644)
    assert status == "WARN"
    assert "sk-secret" not in said
    assert secrets("sk-secret", 0o640) == []
