"""A configuration as it may be shown, and how one differs from another. No secret stands in either."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from trimtab.types import ProviderSpec, Webhook

from .expand import references, shown_reference
from .load import Config
from .telemetry import SinkSpec

HIDDEN = "(hidden)"

_DATA = ("payload", "durability", "on_ledger_failure", "retention_days", "disk_gb")
"""Settings of `[data]` that stand in the policy."""

_OF_ROUTES = ("cache_ttl_s", "hedge", "degraded")
"""Settings of a route beside what its channels lead to."""

_RULES = ("limits", "budgets", "alerts")
"""Sections of named rules, in which no secret stands."""

_SINKS = ("otlp", "jsonl")
"""Kinds of sinks whose options are known."""

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
        "resilience": policy["resilience"],
        "cache": {"max_mb": policy["cache_mb"]},
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
            | {name: msgspec.to_builtins(getattr(route, name)) for name in _OF_ROUTES}
            for route in config.routes
        },
        "catalog": {"file": tree["catalog_file"]},
        **{name: {rule["name"]: _nameless(rule) for rule in tree[name]} for name in _RULES},
        "telemetry": {
            "backlog": config.telemetry.backlog,
            "sinks": {sink.name: _sink(sink, hide) for sink in config.telemetry.sinks},
        },
        "webhooks": {hook.name: _webhook(hook, env, hide) for hook in config.webhooks},
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


def _nameless(rule: Mapping[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in rule.items() if field != "name"}


def _sink(sink: SinkSpec, hide: Hide) -> dict[str, Any]:
    plain = msgspec.to_builtins(sink.options, enc_hook=str)
    if sink.kind in _SINKS:
        options = _masked("options", plain, hide)
    else:
        options = {name: hide(json.dumps(value, default=str)) for name, value in plain.items()}
    return {"kind": sink.kind, "options": options}


def _webhook(hook: Webhook, env: Mapping[str, str], hide: Hide) -> dict[str, Any]:
    # The path of a chat's webhook is all that keeps others from writing there.
    scheme, mark, rest = hook.url.partition("://")
    host = re.split(r"[/?#\\]", rest, maxsplit=1)[0].rpartition("@")[2]
    return {
        "url": f"{scheme}{mark}{host}/{hide(hook.url)}" if mark else hide(hook.url),
        "secret": _key(hook.secret, env, hide),
        "format": hook.format,
    }


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
