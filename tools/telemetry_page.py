"""Writes docs/reference/telemetry.md from the tables of names: `python -m tools.telemetry_page`."""

from pathlib import Path

from trimtab.telemetry.otlp import (
    CALL_FACTS,
    COUNTERS,
    DETAILS_EVENT,
    FAILED_EVENT,
    GAUGES,
    INSTRUMENTS,
    SCHEMA,
)

PAGE = Path(__file__).parents[1] / "docs/reference/telemetry.md"

HEAD = f"""\
# Telemetry

<!-- Made by `python -m tools.telemetry_page` from the tables of names: change them there. -->

What a collector gets over OTLP, and under which names; [how to set it up](../how-to/telemetry.md). The names follow
OpenTelemetry's conventions for generative AI, `{SCHEMA}`, which every message says in
`schema_url`. What those have no name for begins with `trimtab.`.
"""


def page() -> str:
    """Return the page."""
    lines = [HEAD, "## Span of a call", "", "| attribute | is |", "|---|---|"]
    lines += [f"| `{fact.name}` | {fact.about} |" for fact in CALL_FACTS]
    lines += [
        "| `gen_ai.input.messages`, `gen_ai.output.messages` | with `content` only: messages, as a JSON text |",
        "",
        "Its name is the operation and the model, its kind CLIENT, its status ERROR with our code where it was not",
        "answered. `trimtab.first_content` is an event in it. Each attempt is a child, `trimtab.attempt MODEL`.",
        "",
        "## Metrics",
        "",
        "| metric | unit | is |",
        "|---|---|---|",
    ]
    seen: dict[str, tuple[str, str]] = {}
    for instrument in INSTRUMENTS:
        seen.setdefault(instrument.name, (instrument.unit, instrument.about))
    seen["gen_ai.client.token.usage"] = ("{token}", "Billed tokens of a call, by `gen_ai.token.type`.")
    lines += [f"| `{name}` | `{unit}` | histogram. {about} |" for name, (unit, about) in seen.items()]
    lines += [f"| `{name}` | `{unit}` | sum of all workers |" for name, unit in COUNTERS.values()]
    lines += [f"| `{name}` | `{unit}` | now, over all workers |" for name, unit in GAUGES.values()]
    dimensions = ", ".join(f"`{fact.name}`" for fact in CALL_FACTS if fact.metric)
    lines += [
        "",
        f"Histograms have the dimensions {dimensions}; beyond 2,000 series of one, the rest are counted together under",
        "`otel.metric.overflow`.",
        "",
        "## Events",
        "",
        "| event | when |",
        "|---|---|",
        f"| `{FAILED_EVENT}` | a call was not answered; severity WARN |",
        f'| `{DETAILS_EVENT}` | with `content = "events"`: every call whose words were kept |',
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
