"""Configuration files at the loader: a configuration or an error in words, and a secret in neither."""

import json
import tempfile
from pathlib import Path
from random import Random
from typing import Any

from tools.fuzz.grammar import mutated, text, value
from trimtab.config import load_config, tables, visible
from trimtab.types import ConfigError

from . import Plain

SECRET = "Zq7-secret-Zq7"
_SECRETS = ("api_key", "headers", "proxy", "options", "url")
ENV = {"HOME": "/nowhere", "SET": "v"}


class Configs(Plain):
    """One `trimtab.toml`."""

    name = "configs"

    def make(self, rng: Random) -> Any:
        lines: list[str] = []
        for table in rng.sample(tables(), rng.randrange(5)):
            header = table.header.replace("NAME", rng.choice(("a", "b-1"))).replace(
                '"PROVIDER/MODEL"', '"p/m"'
            )
            if header.startswith(("[", "providers")):
                continue
            lines.append(f"[{header}]")
            chosen = rng.sample(table.settings, rng.randrange(len(table.settings) + 1))
            lines += [f"{s.name} = {_toml(rng, s.takes)}" for s in chosen if s.name not in _SECRETS]
        lines.append("[providers.p]")
        lines.append(
            'base_url = "' + rng.choice(("http://h/v1", f"http://u:{SECRET}@h/v1", "https://h")) + '"'
        )
        lines.append(f"api_key = {_secret(rng)}")
        if rng.random() < 0.7:
            lines.append(f'headers = {{ "x-key" = {_secret(rng)} }}')
        if rng.random() < 0.3:
            lines.append(f'proxy = "http://u:{SECRET}@h:3128"')
        if rng.random() < 0.3:
            lines.append(f'options = {{ token = "{SECRET}" }}')
        data = ("\n".join(lines) + "\n").encode("utf-8", "replace")
        damaged = rng.random() < 0.4
        return {"file": mutated(rng, data) if damaged else data, "damaged": damaged}

    def check(self, case: Any) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trimtab.toml"
            path.write_bytes(case["file"])
            try:
                config = load_config(path, env=ENV)
            except ConfigError as error:
                # Damage may move a secret to where no secret belongs.
                if SECRET in error.message and not case["damaged"]:
                    raise AssertionError("an error shows a secret") from error
                return
            shown = json.dumps(visible(config, ENV))
        assert case["damaged"] or SECRET not in shown, shown


def _secret(rng: Random) -> str:
    written = (
        f'"{SECRET}"',
        f'"${{NONE:-{SECRET}}}"',
        f'"a${{SET}}{SECRET}"',
        f'"${{cmd:tool {SECRET}}}"',
        f'["{SECRET}"]',
    )
    return rng.choice((*written, written[0], written[0]))


def _toml(rng: Random, takes: str) -> str:
    if rng.random() < 0.1:
        return json.dumps(value(rng, 0)).replace("null", "nan")
    if "number" in takes:
        return str(rng.choice((1, 2, 10, 5000, 0.5) if takes.startswith("a number") else (1, 2, 10, 5000)))
    if takes.startswith("true"):
        return rng.choice(("true", "false"))
    if takes.startswith('"'):
        return takes.split(" or ")[rng.randrange(takes.count(" or ") + 1)]
    if takes.startswith("a list of texts"):
        return json.dumps([text(rng)])
    return json.dumps(rng.choice(("p/m", "127.0.0.1", "data", text(rng), "${SET}", "${NONE:-x}")))
