"""A configuration as it may be shown, and how one differs from another. No secret stands in either."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from trimtab.types import ProviderSpec

from .expand import references, shown_reference
from .load import Config

HIDDEN = "(hidden)"

_DATA = ("payload", "durability", "on_ledger_failure", "retention_days", "disk_gb")
"""Settings of `[data]` that stand in the policy."""

_SECRET_NAMES = ("key", "token", "secret", "password", "headers", "proxy")
"""A setting whose name holds one of these, in a section that this page does not know, is not shown."""

Hide = Callable[[str], str]
"""Returns what is shown in place of a secret."""


def visible(config: Config, env: Mapping[str, str], hide: Hide = lambda _: HIDDEN) -> dict[str, Any]:
    """Return the configuration as plain data without any secret.

    Args:
        config: what to show.
        env: the environment, asked only whether a variable is set.
        hide: what stands in place of a secret; may tell two apart, and nothing else.
    """
    tree: dict[str, Any] = msgspec.to_builtins(config, enc_hook=str)
    policy = tree["policy"]
    known = {
        "file": tree["source"],
        "data_dir": tree["data_dir"],
        "gateway": tree["gateway"],
        "console": tree["console"],
        "data": {name: policy[name] for name in _DATA},
        "access": {"open": policy["open_access"]},
        "deadlines": policy["deadlines"],
        "retry": policy["retry"],
        "outbound": {"private_addresses": policy["private_addresses"]},
        "own": tree["own"]
        | {"url": _without_password(config.own.url), "api_key": _key(config.own.api_key, env, hide)},
        "providers": {spec.name: _provider(spec, env, hide) for spec in config.providers},
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
    others = {name: _masked(name, part, hide) for name, part in tree.items() if name not in (*known, *_SHOWN)}
    return known | others


_SHOWN = ("source", "policy", "targets", "releases", "catalog_file", "declared")
"""Fields of `Config` that are shown under other names."""


def flat(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every setting as dotted name and JSON text, in the tree's order."""
    for key, value in tree.items():
        here = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping) and value:
            yield from flat(value, here)
        else:
            yield here, json.dumps(value, ensure_ascii=False)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return (name, before, after) for every setting that differs; empty where there is none.

    >>> differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "d": 3}})
    [('a.c', '2', ''), ('a.d', '', '3')]
    """
    old, new = dict(flat(before)), dict(flat(after))
    names = [*old, *(name for name in new if name not in old)]
    return [(n, old.get(n, ""), new.get(n, "")) for n in names if old.get(n) != new.get(n)]


def _release(config: Config, release_id: str) -> dict[str, Any]:
    release = config.releases[release_id]
    return {
        "release": release_id,
        "model": release.model,
        "fallbacks": list(release.fallbacks),
        "parameters": release.parameters,
    }


def _provider(spec: ProviderSpec, env: Mapping[str, str], hide: Hide) -> dict[str, Any]:
    tree: dict[str, Any] = msgspec.to_builtins(spec)
    del tree["name"]
    tree["api_key"] = _key(spec.api_key, env, hide)
    tree["headers"] = {name: hide(value) for name, value in spec.headers.items()}
    tree["proxy"] = _without_password(spec.proxy)
    tree["base_url"] = _without_password(spec.base_url)
    # Whatever a plugin understands may be a secret too; its names are enough to see that it is there.
    tree["options"] = {name: hide(json.dumps(value, default=str)) for name, value in spec.options.items()}
    return tree


def _key(text: str, env: Mapping[str, str], hide: Hide) -> str:
    if not text:
        return ""
    shown = shown_reference(text)
    if not shown:
        return hide(text)
    names = references(text)
    if not names:
        return shown
    return f"{shown} ({'set' if all(env.get(name) for name in names) else 'NOT SET'})"


def _masked(name: str, value: Any, hide: Hide) -> Any:  # noqa: ANN401 - plain data
    if isinstance(value, Mapping):
        if any(part in name for part in _SECRET_NAMES):
            return {key: hide(str(inner)) for key, inner in value.items()}
        return {key: _masked(str(key), inner, hide) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_masked(name, inner, hide) for inner in value]
    if isinstance(value, str) and value:
        return hide(value) if any(part in name for part in _SECRET_NAMES) else _without_password(value)
    return value


def _without_password(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    host = rest.rpartition("@")[2]
    return f"{scheme}{mark}{HIDDEN}@{host}" if mark and "@" in rest else url
