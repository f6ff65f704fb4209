"""The model process where it cannot start; where it can, see tests/integration/test_own_model.py."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from trimtab.providers.own import (
    ModelOptions,
    read_endpoint,
    read_progress,
    run_model,
    served_name,
    write_endpoint,
)
from trimtab.providers.own.endpoint import Endpoint
from trimtab.types import ConfigError

SCRIPT = """
import sys, threading
from pathlib import Path
from trimtab.providers.own import ModelOptions, run_model
from trimtab.types import TrimtabError
try:
    run_model(ModelOptions(run_dir=Path(sys.argv[1])), threading.Event(), print)
except TrimtabError as error:
    print(type(error).__name__, error.message)
"""


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("ModuleNotFoundError(\"No module named 'xllamacpp'\")", "pip install 'trimtab[local]'"),
        (
            "ImportError('libgomp.so.1: cannot open shared object file: No such file or directory')",
            "apt-get install libgomp1",
        ),
        ("ImportError('undefined symbol: x')", "cannot be loaded (undefined symbol: x)"),
    ],
)
def test_a_runtime_that_does_not_load_is_named(tmp_path, fault, says):
    package = tmp_path / "stub"
    package.mkdir()
    (package / "xllamacpp.py").write_text(f"raise {fault}")
    (tmp_path / "run").mkdir()
    said = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "run")],
        env={"PYTHONPATH": str(package), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.startswith("ConfigError"), said
    assert says in said.stdout
    progress = read_progress(tmp_path / "run")
    assert progress is not None
    assert says in progress.reason
    assert read_endpoint(tmp_path / "run") is None


def test_a_start_takes_a_dead_ones_endpoint_back(tmp_path):
    write_endpoint(tmp_path, Endpoint(base_url="", api_key="old", model="m", fingerprint=""))
    pytest.importorskip("xllamacpp")
    with pytest.raises(ConfigError, match="cannot be read"):
        run_model(ModelOptions(run_dir=tmp_path, model_path=tmp_path / "no.gguf"), threading.Event(), print)
    assert read_endpoint(tmp_path) is None
    assert [path.name for path in tmp_path.iterdir()] == ["model.progress.json"]


@pytest.mark.parametrize(
    ("file", "served"),
    [
        (None, "smollm2-135m-instruct"),
        ("My Model.Q4.gguf", "my-model.q4"),
        ("a;rm -rf $HOME.gguf", "a-rm--rf-home"),
        ("日本.gguf", "smollm2-135m-instruct"),
    ],
)
def test_names_fit_urls_and_shells(file, served):
    assert served_name(file and Path(file)) == served
