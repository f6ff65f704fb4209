"""What the workers are to obey: what file and environment declare, and what the store adds.

Every object has one owner. What the file declares stands as declared; the store adds what the file does not name.
"""

from collections.abc import Collection
from typing import cast

import msgspec

from trimtab.serve.log import log
from trimtab.storage import AppStore
from trimtab.types import (
    BudgetSpec,
    CallerError,
    ConfigError,
    KeySpec,
    LimitSpec,
    PayloadPolicy,
    Policy,
    Project,
    ProviderSpec,
    Release,
    RouteSpec,
    Snapshot,
)

from .tunables import applied, tunables


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What the store adds, read in one go."""

    projects: tuple[Project, ...] = ()
    keys: tuple[KeySpec, ...] = ()
    routes: tuple[RouteSpec, ...] = ()
    releases: dict[str, Release] = {}
    providers: tuple[ProviderSpec, ...] = ()
    settings: dict[str, str] = {}
    limits: tuple[LimitSpec, ...] = ()
    budgets: tuple[BudgetSpec, ...] = ()


def gather(app: AppStore) -> Stored:
    """Read what the store adds.

    Raises:
        ConfigError: a route points at a release that is not stored.
        StorageError: the store cannot be read.
    """
    routes = tuple(app.routes())
    releases: dict[str, Release] = {}
    for route in routes:
        for weighted in (w for channel in route.channels.values() for w in channel):
            releases[weighted.release] = _release(app, route.name, weighted.release)
    return Stored(
        projects=tuple(app.projects()),
        keys=tuple(app.keys()),
        routes=routes,
        releases=releases,
        providers=tuple(stored.spec for stored in app.providers()),
        settings=app.settings(),
        limits=tuple(app.limits()),
        budgets=tuple(app.budgets()),
    )


def _release(app: AppStore, route: str, release_id: str) -> Release:
    release = app.release(release_id)
    if release is None:
        raise ConfigError(
            f"route {route!r} points at release {release_id!r}, which is not stored; move it to another"
        )
    return release


def compose(
    base: Snapshot, stored: Stored, generation: int, *, fixed: Collection[str] = frozenset()
) -> Snapshot:
    """Return `base` with what the store adds, under a generation.

    Args:
        base: what file and environment declare.
        stored: what the store adds; what `base` has too is left out.
        generation: the new snapshot's.
        fixed: settings that the file sets, by name.
    """
    policy = with_settings(base.policy, stored.settings, fixed)
    kept = {project.name: project.retention_days for project in stored.projects if project.retention_days}
    policy = msgspec.structs.replace(policy, project_retention=kept)
    taken = {(route.project, route.name) for route in base.routes}
    named = {spec.name for spec in base.providers}
    added = tuple(
        msgspec.structs.replace(spec, reach="private" if policy.private_addresses else "public")
        for spec in stored.providers
        if spec.name not in named
    )
    limited, budgeted = {spec.name for spec in base.limits}, {spec.name for spec in base.budgets}
    return msgspec.structs.replace(
        base,
        limits=(*base.limits, *(spec for spec in stored.limits if spec.name not in limited)),
        budgets=(*base.budgets, *(spec for spec in stored.budgets if spec.name not in budgeted)),
        generation=generation,
        policy=policy,
        routes=(*base.routes, *(r for r in stored.routes if (r.project, r.name) not in taken)),
        releases=stored.releases | base.releases,
        keys=_keys(stored, policy.payload),
        providers=base.providers + added,
        # The own model stands in for unknown names only while there is nobody else.
        default_model="" if added else base.default_model,
    )


def with_settings(policy: Policy, settings: dict[str, str], fixed: Collection[str]) -> Policy:
    """Return a policy with the store's settings, but for those that the file sets; unusable ones are left out."""
    values = {}
    for name, tunable in tunables().items():
        if name in settings and name not in fixed:
            try:
                values[name] = tunable.read(settings[name])
            except CallerError as error:
                log.warning("a stored setting is left out: %s", error)
    try:
        return applied(policy, values)
    except CallerError as error:
        log.warning("the stored settings are left out: %s", error)
        return policy


def with_store(base: Snapshot, app: AppStore, *, fixed: Collection[str] = frozenset()) -> Snapshot:
    """Return `base` with what the store adds now, under a new generation. One write transaction.

    Raises:
        ConfigError: a route points at a release that is not stored.
        StorageError: the store cannot be read or written.
    """
    return compose(base, gather(app), app.next_generation(), fixed=fixed)


_STRICTNESS: tuple[PayloadPolicy, ...] = ("full", "masked", "hash", "none")


def _keys(stored: Stored, policy: PayloadPolicy) -> tuple[KeySpec, ...]:
    """Give a key without a payload policy of its own the stricter of its project's and the installation's."""
    strictest: dict[str, PayloadPolicy] = {}
    for project in stored.projects:
        strictest[project.name] = _STRICTNESS[
            max(_STRICTNESS.index(policy), _STRICTNESS.index(cast("PayloadPolicy", project.payload)))
        ]
    return tuple(
        key if key.payload else msgspec.structs.replace(key, payload=strictest.get(key.project, policy))
        for key in stored.keys
    )
