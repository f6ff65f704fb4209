"""Limits: list with how they stand, add, change, remove. What the configuration file declares is read-only."""

from typing import get_args

from trimtab.console.admin.form import Form
from trimtab.types import LimitPer, LimitSpec

from .pages import RulePages, matched, seconds, shown

PER: tuple[LimitPer, ...] = get_args(LimitPer)
_MOST_S = 3600


def _read(form: Form, name: str) -> LimitSpec:
    spec = LimitSpec(
        name=name,
        per=form.choice("per", PER),
        requests_per_minute=form.number("requests_per_minute", most=10**9),
        tokens_per_minute=form.number("tokens_per_minute", most=10**12 - 1),
        concurrency=form.number("concurrency", most=10**6),
        burst_s=seconds(form, "burst_s", _MOST_S),
        **matched(form),
    )
    if not (spec.requests_per_minute or spec.tokens_per_minute or spec.concurrency):
        form.tell("requests_per_minute", "limit.needs")
    return spec


ROUTES = RulePages[LimitSpec](
    noun="limit",
    rows=lambda visit: visit.control.objects.limits(),
    put=lambda visit, spec: visit.control.objects.put_limit(visit.actor, spec),
    drop=lambda visit, name: visit.control.objects.remove_limit(visit.actor, name),
    read=_read,
    present=shown,
    fresh={"per": "rule", "burst_s": "0.5"},
    fields={"pers": PER},
).routes()
