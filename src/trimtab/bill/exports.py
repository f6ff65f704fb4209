"""Usage exports of providers, read into lines of one shape. Formats are told apart by their fields.

Sources, read November 2026: OpenAI's organization API (platform.openai.com/docs/api-reference/usage, objects
`organization.usage.completions.result` and `organization.costs.result`: pages of buckets), and the CSV files of its
console, which have the same fields as columns, with `start_time` and `end_time` in seconds since 1970 and the amount as
`amount_value`. `line_item` of costs is "MODEL, KIND". The plain form is documented in docs/how-to/bill.md.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from trimtab.types import NUSD_PER_USD, ConfigError

US_PER_S = 1_000_000
DAY_US = 86_400 * US_PER_S
QUARTER_US = 900 * US_PER_S

_NAMES: dict[str, tuple[str, ...]] = {
    "start": ("start_time", "time", "date"),
    "end": ("end_time", "until"),
    "model": ("model",),
    "line_item": ("line_item",),
    "requests": ("num_model_requests", "requests"),
    "input_tokens": ("input_tokens",),
    "cached_tokens": ("input_cached_tokens", "cached_tokens"),
    "output_tokens": ("output_tokens",),
    "cost": ("cost_usd", "amount_value"),
}
"""What a line needs → the columns or fields that may hold it, the first that is there."""

_COUNTS = ("requests", "input_tokens", "cached_tokens", "output_tokens")


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider billed for one model in one stretch of time; None where it does not say."""

    start_us: int
    end_us: int
    """Exclusive."""
    model: str = ""
    """As the provider names it; empty: all models together."""
    requests: int | None = None
    input_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    cost_nusd: int | None = None
    slack_nusd: int = 0
    """By how much the cost may be off, for it was rounded when it was written."""


def read_export(raw: bytes, zone: tzinfo, name: str = "the export") -> list[Line]:
    """Return the lines of an export, those of one model and stretch of time added up, in the order of time.

    Args:
        raw: JSON of OpenAI's organization API (one page, or a list of pages), or a CSV with a header.
        zone: of times and days that name none.
        name: what to call it in errors.

    Raises:
        ConfigError: it is none of the formats, or a value in it cannot be read; the message names the place.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: no UTF-8 text ({error}); give JSON or CSV") from error
    found = _of_json(text, name) if text.lstrip()[:1] in ("{", "[") else _of_csv(text, name)
    return _added_up(_line(fields, zone, where) for where, fields in found)


def merge(exports: Iterable[Sequence[Line]]) -> list[Line]:
    """Return the lines of several exports, such as usage and costs, as those of one.

    Costs that name no model stand beside the usage of all.
    """
    return _added_up(line for export in exports for line in export)


def _of_json(text: str, name: str) -> list[tuple[str, dict[str, Any]]]:
    try:
        root = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{name}: {error}") from error
    found = []
    for page in root if isinstance(root, list) else [root]:
        buckets = page.get("data") if isinstance(page, dict) else None
        if not isinstance(buckets, list):
            raise ConfigError(f"{name}: no page of usage or cost buckets: `data` is missing")
        for at, bucket in enumerate(buckets):
            times = {key: bucket.get(key) for key in ("start_time", "end_time")}
            for result in bucket.get("results") or bucket.get("result") or []:
                amount = result.get("amount")
                value = {"amount_value": amount.get("value")} if isinstance(amount, dict) else {}
                found.append((f"{name}: data[{at}]", {**result, **times, **value}))
    return found


def _of_csv(text: str, name: str) -> list[tuple[str, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text))
    columns = [column.strip().lower() for column in reader.fieldnames or ()]
    if not set(columns) & set(_NAMES["start"]):
        raise ConfigError(
            f"{name}: no column of times; it has {', '.join(columns) or 'none'}, and one of "
            f"{', '.join(_NAMES['start'])} is needed (docs/how-to/bill.md)"
        )
    reader.fieldnames = columns
    rows = [(f"{name}: line {at}", row) for at, row in enumerate(reader, start=2)]
    # A day without usage has times and nothing else.
    return [(where, row) for where, row in rows if any(row.get(column) for column in columns[1:])]


def _line(fields: Mapping[str, Any], zone: tzinfo, where: str) -> Line:
    found = {
        part: next((fields[name] for name in names if fields.get(name) not in (None, "")), None)
        for part, names in _NAMES.items()
    }
    start_us, width_us = _time(found["start"], zone, where)
    end_us = _time(found["end"], zone, where)[0] if found["end"] is not None else start_us + width_us
    model = str(found["model"] or str(found["line_item"] or "").partition(",")[0]).strip()
    cost, slack = _money(found["cost"], where)
    counts = {part: _count(found[part], part, where) for part in _COUNTS}
    return Line(start_us=start_us, end_us=end_us, model=model, cost_nusd=cost, slack_nusd=slack, **counts)


def _time(value: Any, zone: tzinfo, where: str) -> tuple[int, int]:  # noqa: ANN401 - of JSON or CSV
    """Return a time in microseconds, and how long a stretch that begins there is where none says."""
    text = str(value).strip()
    if text.replace(".", "", 1).isdigit():
        return int(Decimal(text) * US_PER_S), DAY_US
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"{where}: {text[:40]!r} is no time; write YYYY-MM-DD or YYYY-MM-DDTHH:MM"
        ) from None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
    start_us = round(aware.timestamp() * US_PER_S)
    if len(text) > len("YYYY-MM-DD"):
        return start_us, 3600 * US_PER_S
    following = (moment + timedelta(days=1)).replace(
        tzinfo=aware.tzinfo
    )  # days are 23 or 25 hours long at times
    return start_us, round(following.timestamp() * US_PER_S) - start_us


def _count(value: Any, part: str, where: str) -> int | None:  # noqa: ANN401
    if value is None:
        return None
    try:
        number = Decimal(str(value).replace(",", ""))
    except InvalidOperation:
        number = Decimal(-1)
    if number < 0 or number != number.to_integral_value():
        raise ConfigError(f"{where}: {part} {value!r} is no count")
    return int(number)


def _money(value: Any, where: str) -> tuple[int | None, int]:  # noqa: ANN401
    """Return an amount in nano-USD, and half a unit of its last digit."""
    if value is None:
        return None, 0
    try:
        amount = Decimal(str(value).strip().removeprefix("$").replace(",", ""))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite():
        raise ConfigError(f"{where}: cost {value!r} is no amount in USD")
    exponent = min(int(amount.as_tuple().exponent), 0)
    slack = Decimal(10) ** exponent * NUSD_PER_USD / 2
    return int((amount * NUSD_PER_USD).to_integral_value()), max(1, int(slack))


def _added_up(lines: Iterable[Line]) -> list[Line]:
    sums: dict[tuple[int, int, str], Line] = {}
    for line in lines:
        # Buckets of minutes are more than our sums can tell apart.
        start = (
            line.start_us
            if line.end_us - line.start_us >= QUARTER_US
            else line.start_us // QUARTER_US * QUARTER_US
        )
        end = max(line.end_us, start + QUARTER_US)
        key = (start, end, line.model)
        before = sums.get(key, Line(start_us=start, end_us=end, model=line.model))
        added: dict[str, Any] = {
            part: _plus(getattr(before, part), getattr(line, part)) for part in (*_COUNTS, "cost_nusd")
        }
        slack = before.slack_nusd + line.slack_nusd
        sums[key] = msgspec.structs.replace(before, **added, slack_nusd=slack)
    return [sums[key] for key in sorted(sums)]


def _plus(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else a + b
