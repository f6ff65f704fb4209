"""`trimtab models`: what answers now, what it costs, and the own model's download."""

from typing import Any

from cyclopts import App

from trimtab.types import SystemClock, format_usd

from .link import admin, running
from .options import AsJson, Place
from .terminal import Column, note, one_line, progress_note, write, write_json, write_table

app = App(name="models")


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
    rows = [
        [
            one_line(str(model["id"])),
            one_line(str(model.get("context_tokens") or "-")),
            _usd(model, "input"),
            _usd(model, "output"),
        ]
        for model in found
    ]
    write_table(
        [
            Column(title="model", fluid=True),
            Column(title="context", align="right"),
            Column(title="input", align="right"),
            Column(title="output", align="right"),
        ],
        rows,
    )
    if not found:
        note("None. Set OPENAI_API_KEY, or `pip install 'trimtab[local]'`, then start `trimtab up` again.")
    return 0
