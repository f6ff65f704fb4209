"""Could the workers obey this? Asked before anything is published, so that no worker has to find out."""

import asyncio
from pathlib import Path

from trimtab.providers import ProviderContext, Unseal, cannot_unseal
from trimtab.types import ConfigError, PayloadPolicy, Provider, ProviderSpec, Snapshot


async def check_snapshot(snapshot: Snapshot, run_dir: Path, unseal: Unseal = cannot_unseal) -> None:
    """Compile a snapshot as a worker would, and throw the result away. Some 10 ms, and no network.

    Args:
        snapshot: what to compile.
        run_dir: run-time files.
        unseal: opens the keys of providers that were added at run time.

    Raises:
        ConfigError: a worker could not obey it.
    """
    check_payload(snapshot.policy.payload)
    made: list[Provider] = []
    try:
        await asyncio.to_thread(_compile, snapshot, run_dir, unseal, made)
    finally:
        for provider in made:
            await provider.aclose()


def check_payload(policy: PayloadPolicy) -> None:
    """Check that a payload policy can be applied.

    Raises:
        ConfigError: it needs what is not set up.
    """
    from trimtab.ledger import payload_policies

    payload_policies()[policy]


def _compile(snapshot: Snapshot, run_dir: Path, unseal: Unseal, made: list[Provider]) -> None:
    from trimtab.pipeline import State
    from trimtab.providers import make_provider

    context = ProviderContext(run_dir=run_dir, max_reply_bytes=snapshot.policy.max_reply_bytes, unseal=unseal)

    def make(spec: ProviderSpec) -> Provider:
        try:
            made.append(make_provider(spec, context))
        except ConfigError as error:
            raise ConfigError(f"providers.{spec.name}: {error.message}") from error
        return made[-1]

    State(snapshot, make)
