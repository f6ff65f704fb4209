"""What file and environment declare, as a `Snapshot`; what the store adds is laid over it in `control.compose`."""

from pathlib import Path
from typing import Any

import msgspec

from trimtab.config import OWN, Config
from trimtab.config import Own as OwnSection
from trimtab.types import ConfigError, ProviderSpec, Snapshot

from .data import layered


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
    """Return what the file and the environment declare, as generation 0. Reads the catalog files.

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
        limits=config.limits,
        budgets=config.budgets,
        default_model=own_model(own) if own.enabled and not config.providers else "",
        catalog=price_layers(config),
    )


def price_layers(config: Config) -> dict[str, Any]:
    """Return what lies over the packaged price table: the installation's own, and the configuration's file over it.

    Raises:
        ConfigError: one of them cannot be read.
    """
    return layered(config.data_dir, read_catalog(config.catalog_file))


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
