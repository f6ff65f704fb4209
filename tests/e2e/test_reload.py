"""`trimtab config reload`, SIGHUP and the watch at a whole Trimtab: a good file is obeyed, a bad one is not."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from rigs.house import House, until
from trimtab.testing import FakeServer

KEYED = """[providers.openai]
base_url = "{upstream}"
api_key = "${{file:{key}}}"
[own]
enabled = false
[reload]
watch = true
"""


def command(house: House, *words: str) -> subprocess.CompletedProcess[str]:
    tool = str(Path(sys.executable).parent / "trimtab")
    options = ["--data", str(house.data), "--config", str(house.home / "trimtab.toml")]
    return subprocess.run([tool, *words, *options], capture_output=True, text=True, timeout=120, check=False)


def readings(house: House) -> list[dict]:
    return json.loads(command(house, "config", "history", "--json").stdout)


def test_a_reload_is_obeyed_or_refused_and_either_stands_in_the_history(tmp_path) -> None:
    with FakeServer() as upstream, House(tmp_path / "house", upstream.base_url) as house:
        key, file = house.home / "key", house.home / "trimtab.toml"
        key.write_text("sk-one")
        good = KEYED.format(upstream=upstream.base_url, key=key)
        file.write_text(good)
        done = command(house, "config", "reload")
        assert done.returncode == 0, done.stderr
        assert "providers.openai.api_key" in done.stdout
        key.rename(house.home / "elsewhere")
        done = command(house, "config", "reload")
        assert done.returncode == 1, done
        assert "cannot be read" in done.stderr
        os.kill(house.processes().supervisor, signal.SIGHUP)
        until(lambda: "is refused, what was in force stays" in house.log, "the refusal is logged")
        (house.home / "elsewhere").rename(key)
        key.write_text("sk-two")
        until(lambda: "is published" in house.log, "the watch has seen the new secret")
        file.write_text(good + "[data]\nretention_days = 5")
        until(lambda: readings(house)[0]["changes"], "the watch has seen the new file")
        said = [(r["taken"], r["actor"]) for r in readings(house)]
        assert said[0] == (True, "system")
        assert (False, "system") in said
        assert said[-2:] == [(False, "admin-token"), (True, "admin-token")]
        assert "sk-two" not in house.log + json.dumps(readings(house))
