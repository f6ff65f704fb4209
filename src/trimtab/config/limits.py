"""What `[limits.NAME]` and `[budgets.NAME]` may hold."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from trimtab.types import BudgetPer, BudgetPeriod, LimitPer


class LimitSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How fast calls may come. What is left out of `key`, `project`, `route` and `model` matches any call."""

    key: Annotated[str, Meta(description="Id or name of a key.")] = ""
    project: Annotated[str, Meta(description="Name of a project.")] = ""
    route: Annotated[str, Meta(description="Name of a route.")] = ""
    model: Annotated[
        str, Meta(description="`provider/model`, or a beginning of it with a `*` at the end.")
    ] = ""
    per: Annotated[
        LimitPer,
        Meta(
            description="What has a bucket of its own: the whole rule, or each key, project, user or model."
        ),
    ] = "rule"
    requests_per_minute: Annotated[int, Meta(ge=0, le=10**9, description="Requests; 0: no limit.")] = 0
    tokens_per_minute: Annotated[
        int, Meta(ge=0, le=10**12, description="Tokens of input and output together; 0: no limit.")
    ] = 0
    concurrency: Annotated[int, Meta(ge=0, le=10**6, description="Calls under way at once; 0: no limit.")] = 0
    burst_s: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description="How many seconds' worth may come at once after a pause. One request always may.",
        ),
    ] = 0.5


class BudgetSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What calls may cost. What is left out of `key`, `project`, `route` and `model` matches any call."""

    amount_usd: Annotated[float, Meta(gt=0, le=10**9, description="The amount, in USD.")]
    key: Annotated[str, Meta(description="Id or name of a key.")] = ""
    project: Annotated[str, Meta(description="Name of a project.")] = ""
    route: Annotated[str, Meta(description="Name of a route.")] = ""
    model: Annotated[
        str, Meta(description="`provider/model`, or a beginning of it with a `*` at the end.")
    ] = ""
    per: Annotated[
        BudgetPer,
        Meta(
            description="What has an amount of its own: the whole rule, or each key, project, user or route."
        ),
    ] = "rule"
    period: Annotated[
        BudgetPeriod, Meta(description="Of the UTC calendar, weeks from Monday; `total` never ends.")
    ] = "month"
    hard: Annotated[bool, Meta(description="Refuse what is beyond it; otherwise it is only noted.")] = True
    strict: Annotated[
        bool, Meta(description="Never exceed it, not by one call either: its upper bound must be left.")
    ] = False
    unpriced: Annotated[
        Literal["allow", "refuse"],
        Meta(
            description="Calls whose model has no known price: let them in, counted as 0 and flagged, or refuse."
        ),
    ] = "allow"
    alert_at: Annotated[
        tuple[Annotated[float, Meta(gt=0, le=100)], ...],
        Meta(max_length=16, description="Shares of the amount that are noted as events, once a period."),
    ] = (0.5, 0.8, 1.0)
    wait_s: Annotated[
        float,
        Meta(
            ge=0, le=600, description="How long a call waits for what calls under way hold and may give back."
        ),
    ] = 5.0
