"""Secrets out of files and commands: what is read, how long it holds, and that no message shows it."""

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.config import Sources, all_references, expand, load_config, shown_reference
from trimtab.providers import ProviderContext, reads_sources
from trimtab.types import ConfigError, ProviderSpec

SECRET = "sk-this-is-the-secret"


def script(folder: Path, text: str, name: str = "tool") -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return path


def test_a_files_text_is_taken_without_the_white_space_around_it(tmp_path):
    (tmp_path / "key").write_text(f"\n  {SECRET} with space \r\n")
    assert expand(f"Bearer ${{file:{tmp_path}/key}}!", {}, Sources()) == f"Bearer {SECRET} with space!"


def test_what_a_file_holds_is_not_expanded_again(tmp_path):
    (tmp_path / "key").write_text("${HOME} ${cmd:echo no}")
    assert expand(f"${{file:{tmp_path}/key}}", {"HOME": "x"}, Sources()) == "${HOME} ${cmd:echo no}"


def test_a_command_gets_its_arguments_as_a_shell_divides_them_but_no_shell(tmp_path):
    tool = script(tmp_path, 'for word; do printf "<%s>" "$word"; done')
    got = expand(f"${{cmd:{tool} a 'b  c' \"d\" $HOME ; *}}", {}, Sources())
    assert got == "<a><b  c><d><$HOME><;><*>"


def test_each_is_read_once_until_there_is_a_new_reader(tmp_path):
    tool = script(tmp_path, f"echo x >> {tmp_path}/runs; wc -l < {tmp_path}/runs")
    file = tmp_path / "key"
    file.write_text("one")
    text = f"${{cmd:{tool}}} ${{file:{file}}}"
    sources = Sources()
    assert expand(text, {}, sources) == "1 one"
    file.write_text("two")
    assert expand(text, {}, sources) == "1 one"
    assert expand(text, {}, Sources()) == "2 two"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: None, "cannot be read: No such file"),
        (lambda p: p.write_text(" \n"), "gives nothing"),
        (lambda p: p.write_bytes(b"sk-this-is-the-secret\xff"), "not UTF-8"),
        (lambda p: p.write_text(SECRET + "\0"), "NUL byte"),
        (lambda p: p.write_text(SECRET * 10_000), "more than 65536 bytes"),
        (lambda p: p.mkdir(), "no regular file"),
        (os.mkfifo, "no regular file"),
    ],
)
def test_a_file_that_is_none_is_named_and_not_shown(tmp_path, make, said):
    make(tmp_path / "key")
    with pytest.raises(ConfigError, match=said) as caught:
        expand(f"${{file:{tmp_path}/key}}", {}, Sources())
    assert f"${{file:{tmp_path}/key}}" in caught.value.message
    assert SECRET not in caught.value.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"echo {SECRET}; exit 3", "ended with status 3"),
        (f"echo {SECRET} >&2; exit 1", "ended with status 1"),
        (f"kill -9 $$; echo {SECRET}", "ended with status -9"),
        ("exit 0", "gives nothing"),
        (f"printf '{SECRET}\\377'", "not UTF-8"),
        (f"yes {SECRET} | head -c 70000", "more than 65536 bytes"),
    ],
)
def test_a_command_that_fails_is_named_without_its_arguments_or_words(tmp_path, text, said):
    tool = script(tmp_path, text)
    with pytest.raises(ConfigError, match=said) as caught:
        expand(f"${{cmd:{tool} --token {SECRET}}}", {}, Sources())
    assert str(tool) in caught.value.message
    assert SECRET not in caught.value.message
    assert caught.value.__cause__ is None


def test_a_command_that_takes_too_long_is_ended_with_all_it_started(tmp_path):
    tool = script(tmp_path, f"sleep 1000 & echo $! > {tmp_path}/pid; wait")
    with pytest.raises(ConfigError, match=r"took more than 0\.5 s"):
        expand(f"${{cmd:{tool}}}", {}, Sources(0.5))
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}/stat").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text():
        assert time.monotonic() < deadline


def test_what_a_command_leaves_behind_does_not_hold_us_up(tmp_path):
    tool = script(tmp_path, f"sleep 1000 & echo {SECRET}")
    assert expand(f"${{cmd:{tool}}}", {}, Sources()) == SECRET


@pytest.mark.parametrize(
    "text", ["${file:}", "${file:key}", "${file:../key}", "${cmd:}", "${cmd: }", "${sh:x}"]
)
def test_a_malformed_source_is_refused_before_it_is_read(text):
    with pytest.raises(ConfigError):
        all_references(text)


@pytest.mark.parametrize("command", ["/no/such/tool", "''", "'unclosed"])
def test_a_command_that_cannot_be_started_says_so(command):
    with pytest.raises(ConfigError, match="cmd:"):
        expand(f"${{cmd:{command}}}", {}, Sources())


def test_variables_named_like_sources_are_variables_still():
    assert expand("${file:-a} ${cmd:-b} ${cmd}", {"cmd": "c"}, Sources()) == "a c c"


def test_where_nothing_may_be_read_nothing_is(tmp_path):
    tool = script(tmp_path, f"touch {tmp_path}/ran; echo x")
    with pytest.raises(ConfigError, match="cannot be used here"):
        expand(f"${{cmd:{tool}}}", {})
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("space", [" ", "\t", "\n", "  "])
def test_of_a_command_the_program_alone_is_shown_whatever_parts_it_from_its_arguments(space):
    assert shown_reference(f"${{cmd:/bin/vault{space}--token=abc}}") == "${cmd:/bin/vault ...}"


@given(st.text(max_size=30))
def test_what_is_shown_of_a_text_is_references_or_nothing(text):
    shown = shown_reference("${A}" + text)
    assert shown == "" or shown.startswith("${A}")
    assert text not in shown or text == "" or text.startswith("${")


def test_the_file_may_name_sources_anywhere_and_secrets_are_left_to_who_sends_them(tmp_path):
    (tmp_path / "port").write_text("8123\n")
    tool = script(tmp_path, f"touch {tmp_path}/ran; echo {SECRET}")
    text = f"""[gateway]
port = "${{file:{tmp_path}/port}}"
[providers.p]
api_key = "${{cmd:{tool} {SECRET}}}"
headers = {{ x = "${{file:{tmp_path}/port}}" }}
"""
    (tmp_path / "trimtab.toml").write_text(text)
    config = load_config(tmp_path / "trimtab.toml", env={})
    assert config.gateway.port == 8123
    assert not (tmp_path / "ran").exists()
    assert [r.kind for r in config.secret_sources()["p"]] == ["cmd", "file"]
    spec = ProviderContext(environ={}).expanded(config.providers[0])
    assert (spec.api_key, spec.headers) == (SECRET, {"x": "8123"})
    assert shown_reference(config.providers[0].api_key) == f"${{cmd:{tool} ...}}"


def test_a_problem_names_the_setting(tmp_path):
    (tmp_path / "trimtab.toml").write_text('[gateway]\nport = "${file:/no/such/port}"')
    with pytest.raises(ConfigError, match=r"gateway\.port: \$\{file:/no/such/port\} cannot be read"):
        load_config(tmp_path / "trimtab.toml", env={})
    spec = ProviderSpec(name="p", headers={"x-key": "${file:/no/such/key}"})
    with pytest.raises(ConfigError, match=r"headers\.x-key: \$\{file:/no/such/key\} cannot be read"):
        ProviderContext(environ={}).expanded(spec)


@pytest.mark.parametrize("reach", ["public", "private"])
def test_nothing_is_read_for_a_provider_that_was_added_at_run_time(tmp_path, reach):
    (tmp_path / "key").write_text(SECRET)
    text = f"${{file:{tmp_path}/key}}"
    spec = ProviderSpec(name="p", api_key=text, headers={"x": text}, proxy=text, reach=reach)
    assert ProviderContext(environ={}).expanded(spec) == spec
    assert not reads_sources(spec)
