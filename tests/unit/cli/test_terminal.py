"""What people see: real pseudo-terminals of given widths."""

import fcntl
import os
import pty
import re
import struct
import sys
import termios

import pytest
from rich.cells import cell_len

from trimtab.cli.terminal import progress_note

SGR = re.compile(r"\x1b\[[0-9;]*m")
HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\u202e"


@pytest.fixture
def at_terminal(place):
    def at_terminal(columns: int, *arguments: str, **env: str) -> str:
        pid, fd = pty.fork()
        if pid == 0:
            # Waits for a byte, so that it does not look at the width before it is set.
            os.read(0, 1)
            # readline, which pytest loads, puts COLUMNS into C's environment behind Python's back.
            child_env = {**os.environ, "TERM": "xterm-256color"} | env
            os.execve(sys.executable, [sys.executable, "-m", "trimtab.cli", *arguments], child_env)
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        os.write(fd, b"\n")
        said = b""
        while True:
            try:
                piece = os.read(fd, 65536)
            except OSError:  # the child is gone, and with it the other end
                break
            if not piece:
                break
            said += piece
        os.close(fd)
        os.waitpid(pid, 0)
        return said.decode().replace("\r\n", "\n").lstrip("\n")

    return at_terminal


@pytest.mark.parametrize("columns", [80, 110, 160])
def test_a_table_fits_the_terminal_and_obeys_nobody(at_terminal, stored, make_call, columns):
    stored(
        [
            make_call(0, words=HOSTILE * 20, model=f"prov/{HOSTILE}"),
            make_call(1, words="日本語 " * 90, model="provider/" + "日本" * 30),
            make_call(2, words="[bold]not markup[/bold]", state="error", error_code="provider_unreachable"),
        ]
    )
    for arguments in (("calls",), ("calls", "show", "last"), ("doctor",)):
        said = at_terminal(columns, *arguments)
        bare = SGR.sub("", said)
        assert not set(bare) & set("\x1b\x07\x9b\r\u202e")
        if arguments == ("calls",):
            assert SGR.search(said)  # it has colours
            assert max(cell_len(line) for line in bare.splitlines()) <= columns
            assert "provider_unreachable" in bare or columns < 120
            assert len(bare.splitlines()) == 4  # the head, and one line a call


def test_no_color_is_honoured(at_terminal, stored, make_call):
    stored([make_call(0)])
    for arguments in (("calls",), ("calls", "show", "last"), ("nonsense",), ("call", "x")):
        said = at_terminal(100, *arguments, NO_COLOR="1")
        assert not re.search(r"\x1b\[[0-9;]*3[0-7]", said), arguments


def test_errors_are_red_on_a_terminal(at_terminal):
    assert at_terminal(100, "nonsense").startswith("\x1b[31merror:")


def test_help_fits(at_terminal):
    for columns in (80, 160):
        bare = SGR.sub("", at_terminal(columns, "--help"))
        assert max(cell_len(line) for line in bare.splitlines()) <= columns
        assert "doctor" in bare


def test_long_work_tells_a_pipe_its_start_and_end(capsys):
    with progress_note("fetching") as progress:
        progress(1, 10)
        progress(10, 0)
    assert capsys.readouterr().err == "fetching ...\nfetching: done\n"


def test_the_own_models_download_shows_on_stderr_only(run, monkeypatch, tmp_path):
    from trimtab.providers.own import Weights

    def fetch(*, progress):
        progress(5, 10)
        return Weights(tmp_path / "m.gguf", "00", "downloaded")

    monkeypatch.setattr("trimtab.providers.own.fetch_weights", fetch, raising=False)
    ran = run("models", "pull")
    assert (ran.code, ran.out) == (0, f"{tmp_path / 'm.gguf'}\n")
    assert "done" in ran.err
    assert '"source": "downloaded"' in run("models", "pull", "--json").out
