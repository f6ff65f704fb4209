"""Keys, users, changed settings and an audit log, as an installation has them after some weeks."""

from rigs import fake_alerts
from rigs.fake_control import FakeControl
from trimtab.types import Actor, AuditEntry, KeySpec, SettingChange, User, new_id

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
