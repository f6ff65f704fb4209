import multiprocessing
import os
import stat
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trimtab.providers.own import (
    Endpoint,
    Progress,
    is_wanted,
    read_endpoint,
    read_progress,
    want_model,
    write_endpoint,
)
from trimtab.providers.own.endpoint import clear_endpoint, clear_progress, write_progress
from trimtab.types import TrimtabError


def endpoint(**changes):
    known = {"base_url": "http://127.0.0.1:1/v1", "api_key": "k" * 40, "model": "m", "fingerprint": "own-1"}
    return Endpoint(**{**known, "pid": os.getpid(), **changes})


def test_what_was_written_is_read(tmp_path):
    assert read_endpoint(tmp_path) is None
    write_endpoint(tmp_path, endpoint(context_tokens=4096, system_prompt="Be brief.", tools=True))
    assert read_endpoint(tmp_path) == endpoint(context_tokens=4096, system_prompt="Be brief.", tools=True)
    clear_endpoint(tmp_path)
    assert read_endpoint(tmp_path) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(), st.text(), st.integers(0, 2**31))
def test_any_text_survives(tmp_path, key, prompt, tokens):
    written = endpoint(api_key=key, system_prompt=prompt, context_tokens=tokens)
    write_endpoint(tmp_path, written)
    assert read_endpoint(tmp_path) == written


def test_the_key_is_the_owners_alone(tmp_path):
    old = os.umask(0)
    try:
        write_endpoint(tmp_path, endpoint())
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "model.json").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["model.json"]


def test_an_endpoint_of_a_dead_process_is_none(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    write_endpoint(tmp_path, endpoint(pid=dead.pid))
    assert read_endpoint(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"base_url": 1}', b"\xff"])
def test_a_damaged_file_is_none(tmp_path, content):
    (tmp_path / "model.json").write_bytes(content)
    (tmp_path / "model.progress.json").write_bytes(content)
    assert read_endpoint(tmp_path) is None
    assert read_progress(tmp_path) is None


def test_a_reader_never_sees_half_a_file(tmp_path):
    writer = multiprocessing.get_context("spawn").Process(target=_write_often, args=(tmp_path,))
    writer.start()
    try:
        seen = 0
        while writer.is_alive():
            found = read_endpoint(tmp_path)
            if found is not None:
                assert len(found.system_prompt) == 100_000
                seen += 1
        assert seen > 10
    finally:
        writer.kill()
        writer.join()


def _write_often(run_dir):
    for turn in range(300):
        write_endpoint(run_dir, endpoint(pid=0, system_prompt=str(turn % 10) * 100_000))


def test_another_format_is_none(tmp_path):
    write_endpoint(tmp_path, endpoint(format=2))
    assert read_endpoint(tmp_path) is None


def test_wanting(tmp_path):
    assert not is_wanted(tmp_path)
    want_model(tmp_path)
    want_model(tmp_path)
    assert is_wanted(tmp_path)
    want_model(tmp_path / "missing")
    assert not is_wanted(tmp_path / "missing")


def test_progress_reads_as_words(tmp_path):
    assert read_progress(tmp_path) is None
    write_progress(tmp_path, Progress(state="downloading", fraction=0.354))
    assert str(read_progress(tmp_path)) == "downloading 35%"
    write_progress(tmp_path, Progress(state="failed", reason="no disk"))
    assert str(read_progress(tmp_path)) == "failed: no disk"
    clear_progress(tmp_path)
    assert read_progress(tmp_path) is None


def test_a_ready_model_has_no_progress(tmp_path):
    write_progress(tmp_path, Progress(state="loading"))
    write_endpoint(tmp_path, endpoint())
    assert read_progress(tmp_path) is None


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(TrimtabError, match="missing"):
        write_endpoint(tmp_path / "missing", endpoint())
