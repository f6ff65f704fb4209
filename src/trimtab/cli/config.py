"""`trimtab config`: is the configuration good, and what does it come to."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from cyclopts import App

from trimtab.config import Config, find_file, load_config, references, shown_reference
from trimtab.types import ConfigError, ProviderSpec

from .options import AsJson, Place
from .terminal import Cell, Column, json_text, note, one_line, write, write_json, write_table

app = App(name="config", help="Check and show the configuration.")

HIDDEN = "(hidden)"

_DATA = ("payload", "durability", "on_ledger_failure", "retention_days", "disk_gb")
"""Settings of `[data]` that stand in the policy."""


@app.command
def check(place: Place | None = None, *, json: AsJson = False) -> int:
    """Check the configuration as a start would: exit 0 where it can be used, 1 where it cannot.

    Names every problem with its key, what it holds and the mend. A variable that the file needs must be set here
    too.

    Args:
        place: Which installation.
        json: Print JSON with stable fields.
    """
    from trimtab.serve import check_config

    place = place or Place()
    try:
        config = load(place)
        check_config(config)
    except ConfigError as error:
        if json:
            write_json({"ok": False, "file": _file(place.config), "error": error.message})
        else:
            note(f"error: {error.message}", "red")
        return 1
    if json:
        write_json({"ok": True, "file": _file(config.source), "error": None})
    else:
        write(one_line(f"{config.source or 'No file, so the defaults'}: good"))
    return 0


def _file(path: Path | None) -> str | None:
    return None if path is None else str(path)


@app.command
def show(place: Place | None = None, *, json: AsJson = False) -> int:
    """Show the configuration in force: file, environment and defaults together, with secrets hidden.

    Args:
        place: Which installation.
        json: Print JSON with stable fields.
    """
    config = load(place or Place())
    tree = visible(config, os.environ)
    if json:
        write_json(tree)
        return 0
    rows = [(Cell(key, "cyan"), Cell(one_line(value))) for key, value in _flat(tree)]
    write_table([Column(title="setting"), Column(title="value", fluid=True)], rows)
    return 0


def load(place: Place) -> Config:
    """Return the configuration that a command's options name. Reads the file and the environment.

    Raises:
        ConfigError: it cannot be used.
    """
    return load_config(find_file(place.config), env=os.environ, data_dir=place.data)


def visible(config: Config, env: Mapping[str, str]) -> dict[str, Any]:
    """Return the configuration as plain data without any secret."""
    tree: dict[str, Any] = msgspec.to_builtins(config, enc_hook=str)
    policy = tree["policy"]
    return {
        "file": tree["source"],
        "data_dir": tree["data_dir"],
        "gateway": tree["gateway"],
        "console": tree["console"],
        "data": {name: policy[name] for name in _DATA},
        "access": {"open": policy["open_access"]},
        "deadlines": policy["deadlines"],
        "retry": policy["retry"],
        "own": tree["own"] | {"url": _without_password(config.own.url)},
        "providers": {spec.name: _visible_provider(spec, env) for spec in config.providers},
        "models": {name: {"targets": targets} for name, targets in tree["targets"].items()},
        "routes": {
            route.name: {
                channel: [_release(config, share.release) | {"weight": share.weight} for share in shares]
                for channel, shares in route.channels.items()
            }
            for route in config.routes
        },
        "catalog": {"file": tree["catalog_file"]},
    }


def _release(config: Config, release_id: str) -> dict[str, Any]:
    release = config.releases[release_id]
    return {
        "release": release_id,
        "model": release.model,
        "fallbacks": list(release.fallbacks),
        "parameters": release.parameters,
    }


def _visible_provider(spec: ProviderSpec, env: Mapping[str, str]) -> dict[str, Any]:
    tree: dict[str, Any] = msgspec.to_builtins(spec)
    del tree["name"]
    tree["api_key"] = _visible_key(spec.api_key, env)
    tree["headers"] = dict.fromkeys(spec.headers, HIDDEN)
    tree["proxy"] = _without_password(spec.proxy)
    tree["base_url"] = _without_password(spec.base_url)
    # Whatever a plugin understands may be a secret too; its names are enough to see that it is there.
    tree["options"] = dict.fromkeys(spec.options, HIDDEN)
    return tree


def _visible_key(text: str, env: Mapping[str, str]) -> str:
    if not text:
        return ""
    shown = shown_reference(text)
    if not shown:
        return HIDDEN
    names = references(text)
    if not names:
        return shown
    return f"{shown} ({'set' if all(env.get(name) for name in names) else 'NOT SET'})"


def _without_password(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    host = rest.rpartition("@")[2]
    return f"{scheme}{mark}{HIDDEN}@{host}" if mark and "@" in rest else url


def _flat(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        here = f"{path}.{key}" if path else str(key)
        if isinstance(value, dict) and value:
            yield from _flat(value, here)
        else:
            yield here, json_text(value)
