"""Keys, users, changed settings and an audit log, as an installation has them after some weeks."""

from rigs import fake_alerts
from rigs.fake_control import FakeControl, budget_row
from trimtab.api import LimitRow, LimitUse
from trimtab.types import Actor, AuditEntry, BudgetSpec, KeySpec, LimitSpec, SettingChange, User, new_id

DAY_US = 86_400_000_000

KEYS = (
    ("key_0198c0ffee01", "billing-service", "default", None),
    ("key_0198c0ffee02", "web-shop", "shop", "full"),
    ("key_0198c0ffee03", "notebooks", "research", "none"),
)

HISTORY = (
    ("data.payload", "full", "none"),
    ("data.payload", "none", "full"),
    ("models.default", "openai/gpt-4o", "openai/gpt-4o-mini"),
)


def furnish(control: FakeControl) -> None:
    """Put them there."""
    now_us = control.now_us
    fake_alerts.fill(control.alerts, now_us)
    for at, (key_id, name, project, payload) in enumerate(KEYS):
        control.objects._keys[key_id] = KeySpec(
            id=key_id,
            sha256="0" * 64,
            name=name,
            project=project,
            payload=payload,
            created_us=now_us - (20 - at) * DAY_US,
        )
    control.people._users["old.hand@example.org"] = User(
        name="old.hand@example.org", role="editor", created_us=now_us - 90 * DAY_US, disabled=True
    )
    for at, (name, before, after) in enumerate(HISTORY):
        control.objects._changes.append(
            SettingChange(
                at_us=now_us - (9 - at) * DAY_US, actor="ada", name=name, before=before, after=after
            )
        )
    month = BudgetSpec(name="whole-company", amount_nusd=500_000_000_000, alert_at=(0.8, 1.0))
    each = BudgetSpec(name="each-user", amount_nusd=2_000_000_000, per="user", period="day", hard=False)
    users = {"ada": 2_100_000_000, "grace": 900_000_000, "edsger": 10_000}
    control.objects._budgets = {
        "whole-company": budget_row(month, now_us, "file", all=412_345_678_900),
        "each-user": budget_row(each, now_us, **users),
        "strict-trial": budget_row(
            BudgetSpec(
                name="strict-trial", amount_nusd=5_000_000_000, period="total", strict=True, key="trial"
            ),
            now_us,
        ),
    }
    fast = LimitSpec(
        name="each-key", per="key", requests_per_minute=600, tokens_per_minute=200_000, concurrency=20
    )
    uses = (LimitUse(subject="key_0198c0ffee01", under_way=7, requests_left=4, tokens_left=1500),)
    control.objects._limits = {
        "each-key": LimitRow(spec=fast, owner="store", subjects=1, uses=uses),
        "gpt": LimitRow(
            spec=LimitSpec(name="gpt", model="openai/*", concurrency=5), owner="file", subjects=0
        ),
    }
    eve = Actor(name="eve", role="editor", via="console", address="192.0.2.17")
    for at in range(120):
        at_us = now_us - (at + 30) * 3_600_000_000
        control.people.entries.append(
            AuditEntry(
                id=new_id(at_us // 1000),
                at_us=at_us,
                actor=eve.name,
                role=eve.role,
                action="provider.put" if at % 40 == 1 else "project.put",
                object="openai" if at % 40 == 1 else "research",
                detail={} if at % 40 == 1 else {"retention_days": [str(at), str(at + 1)]},
                outcome="refused" if at % 40 == 1 else "done",
                address=eve.address,
            )
        )
