"""What the workers are to obey: a `Snapshot` made of the configuration file and `app.db`.

Every object has one owner. What the file declares stands as declared; the store adds what the file does not
name.
"""

from pathlib import Path
from typing import Any, cast

import msgspec

from trimtab.config import OWN, Config
from trimtab.config import Own as OwnSection
from trimtab.storage import AppStore
from trimtab.types import ConfigError, KeySpec, PayloadPolicy, ProviderSpec, Release, Snapshot


def own_model(own: OwnSection) -> str:
    """Return the own model's full name, `own/...`."""
    from trimtab.providers.own import served_name

    return f"{OWN}/{own.model or served_name(Path(own.model_path) if own.model_path else None)}"


def own_provider(own: OwnSection) -> ProviderSpec:
    """Return the own model as a provider."""
    return ProviderSpec(
        name=OWN,
        kind="own",
        base_url=own.url,
        api_key=own.api_key,
        models=(own_model(own).partition("/")[2],),
    )


def declared(config: Config) -> Snapshot:
    """Return what the file and the environment declare, as generation 0. Reads the catalog file.

    Raises:
        ConfigError: the catalog file cannot be read.
    """
    own = config.own
    return Snapshot(
        generation=0,
        policy=config.policy,
        providers=(*config.providers, own_provider(own)) if own.enabled else config.providers,
        targets=config.targets,
        routes=config.routes,
        releases=config.releases,
        default_model=own_model(own) if own.enabled and not config.providers else "",
        catalog=read_catalog(config.catalog_file),
    )


def with_store(base: Snapshot, app: AppStore) -> Snapshot:
    """Return `base` with the store's present keys and routes, under a new generation. One write transaction.

    Raises:
        ConfigError: a route points at a release that is not stored.
        StorageError: the store cannot be read or written.
    """
    taken = {(route.project, route.name) for route in base.routes}
    routes = (*base.routes, *(r for r in app.routes() if (r.project, r.name) not in taken))
    releases = dict(base.releases)
    for route in routes:
        for weighted in (w for channel in route.channels.values() for w in channel):
            if weighted.release not in releases:
                releases[weighted.release] = _stored_release(app, route.name, weighted.release)
    return msgspec.structs.replace(
        base,
        generation=app.next_generation(),
        routes=routes,
        releases=releases,
        keys=_keys(app, base.policy.payload),
    )


def _stored_release(app: AppStore, route: str, release_id: str) -> Release:
    release = app.release(release_id)
    if release is None:
        raise ConfigError(
            f"route {route!r} points at release {release_id!r}, which is not stored; move it to another"
        )
    return release


_STRICTNESS: tuple[PayloadPolicy, ...] = ("full", "masked", "hash", "none")


def _keys(app: AppStore, policy: PayloadPolicy) -> tuple[KeySpec, ...]:
    """Give a key without a payload policy of its own the stricter of its project's and the file's."""
    strictest: dict[str, PayloadPolicy] = {}
    for project in app.projects():
        strictest[project.name] = _STRICTNESS[
            max(_STRICTNESS.index(policy), _STRICTNESS.index(cast("PayloadPolicy", project.payload)))
        ]
    return tuple(
        key if key.payload else msgspec.structs.replace(key, payload=strictest.get(key.project, policy))
        for key in app.keys()  # noqa: SIM118 - no dict: the store's method
    )


def read_catalog(path: Path | None) -> dict[str, Any]:
    """Return the override file's content; empty where there is none.

    Raises:
        ConfigError: it cannot be read.
    """
    if path is None:
        return {}
    try:
        raw = path.read_bytes()
        found = msgspec.json.decode(raw)
    except OSError as error:
        raise ConfigError(
            f"catalog.file: {path} cannot be read ({error.strerror}); name a file that is there"
        ) from error
    except ValueError as error:
        raise ConfigError(
            f"catalog.file: {path} is damaged: {error}; mend it, or remove the setting"
        ) from error
    if not isinstance(found, dict):
        raise ConfigError(f"catalog.file: {path} holds no JSON object; see docs/how-to/prices.md")
    return found
