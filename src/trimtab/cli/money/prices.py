"""`trimtab prices`: which price table is in force, whether it knows what is called, and a newer one for it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App

from trimtab.cli.config import load
from trimtab.cli.options import AsJson, Place
from trimtab.cli.reach import admin, open_calls
from trimtab.cli.terminal import (
    Column,
    CommandFailed,
    note,
    one_line,
    show_iso,
    write,
    write_json,
    write_table,
)
from trimtab.types import ConfigError, SystemClock, format_usd

if TYPE_CHECKING:
    from trimtab.catalog import Catalog, Price
    from trimtab.config import Config

app = App(name="prices", help="Which price table is in force, and a newer one for it.")

_MONTH_US = 30 * 86_400_000_000
_PARTS = ("input", "output", "cached", "cache_write")


@app.default
def prices(place: Place | None = None, *, json: AsJson = False) -> int:
    """Say which table is in force, and which ones were when.

    Args:
        place: Which installation.
        json: Print JSON with stable fields.
    """
    import msgspec

    from trimtab.catalog import packaged_sha256
    from trimtab.serve import price_history

    config = load(place or Place())
    catalog = _catalog(config)
    past = price_history(config.data_dir)
    if json:
        write_json(
            {
                "version": catalog.version,
                "packaged_sha256": packaged_sha256(),
                "history": [msgspec.structs.asdict(entry) for entry in past],
            }
        )
        return 0
    write(f"In force: {catalog.version}")
    write(f"The packaged table has SHA-256 {packaged_sha256()}.")
    columns = [
        Column(title="since"),
        Column(title="version"),
        Column(title="own table"),
        Column(title="overrides"),
    ]
    rows = [
        [show_iso(e.at_us), one_line(e.version), e.table_sha256[:12] or "-", e.overrides_sha256[:12] or "-"]
        for e in past
    ]
    if rows:
        write_table(columns, rows)
    return 0


@app.command
def show(model: str = "", /, *, place: Place | None = None, json: AsJson = False) -> int:
    """Show the prices of a model through time, or those of all models today (USD per million tokens).

    Args:
        model: `provider/model`; without one, all.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    import msgspec

    catalog, now_us = _catalog(load(place or Place())), SystemClock().now_us()
    names = [model] if model else catalog.names()
    found: list[tuple[str, int, Price | None]] = [
        (name, since, price)
        for name in names
        for since, price in (catalog.prices(name) if model else _today(catalog, name, now_us))
    ]
    if model and not found:
        raise CommandFailed(
            f"no price of {model!r} is known", mend="docs/how-to/prices.md says how to add one", exit_code=1
        )
    if json:
        write_json(
            [
                {
                    "model": name,
                    "since_us": since,
                    "prices": None if price is None else msgspec.to_builtins(price),
                }
                for name, since, price in found
            ]
        )
        return 0
    columns = [Column(title="model", fluid=True), Column(title="since")]
    columns += [Column(title=part, align="right") for part in _PARTS]
    write_table(
        columns, [[one_line(name), show_iso(since)[:10], *_cells(price)] for name, since, price in found]
    )
    return 0


@app.command
def check(file: Path | None = None, /, *, place: Place | None = None, json: AsJson = False) -> int:
    """Check a table before it is used; without one, name the models called lately that have no price.

    Exit code 1: a model of the last 30 days has no price. 2: the table cannot be used.

    Args:
        file: A table in the format of docs/how-to/prices.md.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    from trimtab.storage import BillQuery

    if file is not None:
        raw = _read(file)
        catalog = _checked(file, raw)
        digest = hashlib.sha256(raw).hexdigest()
        if json:
            write_json({"file": str(file), "sha256": digest, "version": catalog.version})
        else:
            write(f"{one_line(str(file))} can be used: SHA-256 {digest}, version {catalog.version}")
        return 0
    with open_calls(place or Place()) as calls:
        rows = calls.bill(BillQuery(by=("model",), since_us=SystemClock().now_us() - _MONTH_US))
    unpriced = [row for row in rows if row.unpriced]
    if json:
        write_json([{"model": row.key[0], "calls": row.unpriced} for row in unpriced])
    elif not unpriced:
        write("Every model called in the last 30 days has a price.")
    else:
        columns = [Column(title="model without a price", fluid=True), Column(title="calls", align="right")]
        write_table(columns, [[one_line(row.key[0]), f"{row.unpriced:,}"] for row in unpriced])
        note("Give them one in the file of `[catalog] file`, or with `trimtab prices update FILE`.")
    return 1 if unpriced else 0


@app.command
def update(file: Path, /, *, sha256: str = "", place: Place | None = None, json: AsJson = False) -> int:
    """Make a file the installation's price table: over the packaged one, below the configuration's overrides.

    Nothing is fetched. What runs takes it over at once; calls that were recorded keep what they cost.

    Args:
        file: A table in the format of docs/how-to/prices.md.
        sha256: What the file's SHA-256 must be; another file is refused.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    from trimtab.serve import find_running, install_prices

    raw = _read(file)
    digest = hashlib.sha256(raw).hexdigest()
    if sha256 and sha256.lower() != digest:
        raise CommandFailed(
            f"{file} has SHA-256 {digest}, and {sha256} was asked for", mend="get the file again", exit_code=2
        )
    _checked(file, raw)
    config = load(place or Place())
    install_prices(config.data_dir, raw)
    running = find_running(config.data_dir)
    if running is not None:
        admin(running, "POST", "reload")
    version = _catalog(config).version
    if json:
        write_json({"sha256": digest, "version": version, "in_force": running is not None})
    else:
        write(f"SHA-256 {digest}")
        write(f"{'In force' if running else 'In force from the next start'}: {version}")
    return 0


def _catalog(config: Config) -> Catalog:
    from trimtab.catalog import Catalog
    from trimtab.serve import price_layers

    return Catalog.load(price_layers(config) or None)


def _today(catalog: Catalog, name: str, now_us: int) -> list[tuple[int, Price | None]]:
    price = catalog.price(name, now_us)
    return [] if price is None else [(price.since_us, price)]


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CommandFailed(
            f"{file} cannot be read: {error.strerror}", mend="name a file that is there", exit_code=2
        ) from error


def _checked(file: Path, raw: bytes) -> Catalog:
    from trimtab.catalog import Catalog

    try:
        return Catalog.load(raw)
    except ConfigError as error:
        raise CommandFailed(
            f"{file}: {error.message}", mend="docs/how-to/prices.md has the format", exit_code=2
        ) from error


def _cells(price: Any) -> list[str]:  # noqa: ANN401 - a Price or None
    return ["-" if price is None else format_usd(getattr(price, part)).removeprefix("$") for part in _PARTS]
