"""`trimtab bill`: what calls cost, and whether the provider says the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from trimtab.cli.options import AsJson, Place
from trimtab.cli.reach import open_calls
from trimtab.cli.terminal import (
    Column,
    CommandFailed,
    note,
    one_line,
    parse_when,
    show_iso,
    write,
    write_json,
    write_table,
)
from trimtab.types import ConfigError, SystemClock, format_usd

if TYPE_CHECKING:
    from datetime import tzinfo

    from trimtab.bill import Difference, Line, Report
    from trimtab.storage import BillRow

app = App(name="bill", help="What calls cost, and whether the provider says the same.")

By = Literal["key", "project", "user", "model", "day", "route", "provider"]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Which calls."""

    since: Annotated[
        str, Parameter(help="Not before: `2h`, `7d`, `2026-11-01`, or a time with its zone.")
    ] = ""
    until: Annotated[str, Parameter(help="Before then.")] = ""
    project: Annotated[str, Parameter(help="Of one project.")] = ""
    provider: Annotated[str, Parameter(help="Of one provider.")] = ""


@app.default
def bill(
    span: Span | None = None, place: Place | None = None, *, by: By = "model", json: AsJson = False
) -> int:
    """Add up what calls of every purpose used and cost.

    Args:
        span: Which calls.
        place: Which installation.
        by: What to add up by.
        json: Print JSON with stable fields.
    """
    from trimtab.storage import BillQuery

    wanted, now_us = span or Span(), SystemClock().now_us()
    query = BillQuery(
        by=(by,),
        since_us=parse_when(wanted.since, now_us) if wanted.since else 0,
        until_us=parse_when(wanted.until, now_us) if wanted.until else 0,
        project=wanted.project,
        provider=wanted.provider,
    )
    with open_calls(place or Place()) as calls:
        rows = calls.bill(query)
    if by != "day":
        rows.sort(key=lambda row: (-row.cost_nusd, row.key))
    if json:
        write_json([_row_json(by, row) for row in rows])
        return 0
    titles = ("calls", "input", "cached", "output", "estimated", "unfinished", "unpriced", "cost, $")
    columns = [Column(title=by, fluid=True), *(Column(title=title, align="right") for title in titles)]
    write_table(columns, [_cells(row) for row in rows])
    _notes(rows)
    return 0


@app.command
def reconcile(
    files: list[Path],
    /,
    *,
    place: Place | None = None,
    provider: str = "openai",
    zone: str = "UTC",
    json: AsJson = False,
) -> int:
    """Compare our rows with a provider's usage export, and name each difference.

    Exit code 0: nothing differs but rounding. 1: something does. 2: wrong usage. 3: it could not be found out.

    Args:
        files: The export: OpenAI's organization usage or costs (JSON of the API, or the console's CSV), or a plain CSV
            with the columns `time` or `date`, `model`, `requests`, `input_tokens`, `cached_tokens`, `output_tokens`
            and `cost_usd`; what a file has no column of is not compared. Usage and costs may be given together.
        place: Which installation.
        provider: Our name of the provider.
        zone: Time zone of days and times that name none, such as `Europe/Berlin`.
        json: Print JSON with stable fields.
    """
    from trimtab.bill import MARGIN_US, compare
    from trimtab.storage import BillQuery

    lines = _read(files, _zone(zone))
    if not lines:
        raise CommandFailed("the export has no usage in it", mend="export a time in which there was some")
    start, end = min(line.start_us for line in lines), max(line.end_us for line in lines)
    query = BillQuery(
        by=("quarter", "served"),
        since_us=max(0, start - MARGIN_US),
        until_us=end + MARGIN_US,
        provider=provider,
        upstream=True,
    )
    with open_calls(place or Place()) as calls:
        rows = calls.bill(query)
    report = compare(lines, rows)
    if json:
        write_json(_report_json(report))
    else:
        _show(report)
    return 0 if report.equal else 1


def _read(files: list[Path], zone: tzinfo) -> list[Line]:
    from trimtab.bill import merge, read_export

    found = []
    for path in files:
        try:
            found.append(read_export(path.read_bytes(), zone, path.name))
        except OSError as error:
            raise CommandFailed(
                f"{path} cannot be read: {error.strerror}", mend="name a file that is there", exit_code=2
            ) from error
        except ConfigError as error:
            raise CommandFailed(error.message, mend="docs/how-to/bill.md has the formats") from error
    return merge(found)


def _zone(name: str) -> tzinfo:
    from datetime import UTC
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise CommandFailed(
            f"{name!r} is no time zone", mend="name one such as Europe/Berlin", exit_code=2
        ) from error


def _show(report: Report) -> None:
    theirs = "says nothing of costs" if report.theirs_nusd is None else format_usd(report.theirs_nusd)
    write(f"{show_iso(report.start_us)} to {show_iso(report.end_us)}, {report.lines} lines")
    write(f"ours {format_usd(report.ours_nusd)}, theirs {theirs}")
    columns = [
        Column(title="what"),
        Column(title="from"),
        Column(title="model", fluid=True),
        Column(title="ours", align="right"),
        Column(title="theirs", align="right"),
        Column(title="of"),
    ]
    if report.differences:
        write_table(columns, [_difference(found) for found in report.differences])
        for found in report.differences:
            write(
                f"{found.kind} {one_line(found.model) or 'all models'} {show_iso(found.start_us)}: {found.text}"
            )
    else:
        write("No difference.")
    for said in report.notes:
        note(one_line(said))


def _difference(found: Difference) -> list[str]:
    money = found.unit == "cost_nusd"
    ours, theirs = (format_usd(n) if money else f"{n:,}" for n in (found.ours, found.theirs))
    unit = "cost" if money else found.unit
    return [found.kind, show_iso(found.start_us), one_line(found.model) or "all", ours, theirs, unit]


def _report_json(report: Report) -> dict[str, Any]:
    import msgspec

    made: dict[str, Any] = msgspec.to_builtins(report)
    return {"equal": report.equal, **made}


def _row_json(by: str, row: BillRow) -> dict[str, Any]:
    import msgspec

    fields = msgspec.structs.asdict(row)
    return {by: fields.pop("key")[0], **fields}


def _cells(row: BillRow) -> list[str]:
    counts = (
        row.calls, row.input_tokens, row.cached_tokens, row.output_tokens, row.estimated, row.unfinished,
        row.unpriced,
    )  # fmt: skip
    return [
        one_line(row.key[0]) or "-",
        *(f"{n:,}" for n in counts),
        format_usd(row.cost_nusd).removeprefix("$"),
    ]


def _notes(rows: list[BillRow]) -> None:
    total = format_usd(sum(row.cost_nusd for row in rows))
    note(f"{total} together.")
    if unpriced := sum(row.unpriced for row in rows):
        note(
            f"{unpriced:,} calls have no known price and count as 0: `trimtab prices check` names their models."
        )
    if unfinished := sum(row.unfinished for row in rows):
        note(f"{unfinished:,} calls never ended, and may have been billed.")
