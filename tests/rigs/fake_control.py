"""The `Control` port kept in memory: what pages are built and tested against, without processes or stores."""

import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from rigs.fake_alerts import FakeAlerts
from rigs.sample_traces import rows_of, trace_of
from trimtab.access import SHORTEST_PASSWORD
from trimtab.api import (
    BudgetRow,
    BudgetUse,
    ConfigChange,
    ConfigReading,
    DemoFilled,
    LimitRow,
    Published,
    Restarted,
)
from trimtab.api.answers import Erased, Moved, ProviderRow, ProviderTest, SettingRow
from trimtab.limits import period_of
from trimtab.stats import LogHistogram
from trimtab.storage import (
    BillQuery,
    BillRow,
    CallQuery,
    Cube,
    Erasure,
    RollupRow,
    SessionRow,
    Trace,
    TraceRow,
)
from trimtab.types import (
    ROLES,
    Actor,
    AuditEntry,
    BudgetSpec,
    Call,
    CallerError,
    FeedbackGiven,
    Forbidden,
    KeySpec,
    LimitSpec,
    NotFound,
    Project,
    ProviderSpec,
    RateLimited,
    SavedView,
    SettingChange,
    Snapshot,
    SpanEnded,
    TargetHealth,
    Unauthenticated,
    User,
    id_time_us,
    new_id,
)

TOKEN = "tta-the-installation-token"
PASSWORDS = {"ada": "correct horse", "eve": "battery staple", "vic": "tractor paste"}
"""An admin, an editor, a viewer."""

_US_PER_S = 1_000_000
_STEPS = {
    "hour_model": 3600,
    "hour_prompt": 3600,
    "day_user": 86_400,
    "minute_project": 60,
    "sixhour_model": 21_600,
}


class FakeControl:
    """All four parts; `calls` may be changed between requests, newest last."""

    def __init__(self, calls: list[Call] | None = None, *, now_us: int) -> None:
        self.now_us = now_us
        self.records = FakeRecords(self, calls or [])
        self.people = FakePeople(self)
        self.objects = FakeObjects(self)
        self.machine = FakeMachine(self)
        self.alerts = FakeAlerts(self)

    def note(self, actor: Actor, action: str, object: str, **detail: Any) -> None:
        """Append to the audit log."""
        self.people.entries.append(
            AuditEntry(
                id=new_id(self.now_us // 1000), at_us=self.now_us, actor=actor.name, role=actor.role,
                action=action, object=object, detail=detail, address=actor.address,
            )
        )  # fmt: skip

    def published(self) -> Published:
        """Publish one more generation."""
        self.machine.generation += 1
        return Published(generation=self.machine.generation, obeyed=True)


class FakeRecords:
    """Calls in a list."""

    def __init__(self, control: FakeControl, calls: list[Call]) -> None:
        self._control = control
        self.erasures = 0
        self.calls = sorted(calls, key=lambda call: call.id)
        self.spans: list[SpanEnded] = []
        self._rollups: dict[Cube, list[RollupRow]] = {}
        self.asked: list[CallQuery] = []

    async def find(self, query: CallQuery, *, payload: bool) -> list[Call]:
        self.asked.append(query)
        found = [call for call in reversed(self.calls) if matches(call, query)][: query.limit]
        return found if payload else [bare(call) for call in found]

    async def get(self, call_id: str) -> Call | None:
        return next((call for call in self.calls if call.id == call_id), None)

    async def sessions(self, *, project: str = "", before: str = "", limit: int = 50) -> list[SessionRow]:
        groups: dict[tuple[str, str], list[Call]] = defaultdict(list)
        for call in reversed(self.calls):
            if call.opened.session and project in ("", call.opened.project):
                groups[call.opened.project, call.opened.session].append(call)
        rows = [session_row(calls) for calls in groups.values()]
        return [row for row in rows if not before or row.last_call < before][:limit]

    async def traces(self, *, project: str = "", before: str = "", limit: int = 50) -> list[TraceRow]:
        rows = [row for row in rows_of(self.spans, self.calls) if project in ("", row.project)]
        places = [row.place for row in rows]
        return rows[places.index(before) + 1 if before else 0 :][:limit]

    async def trace(self, trace_id: str, *, most_spans: int, most_calls: int) -> Trace | None:
        return trace_of(trace_id, self.spans, [bare(call) for call in self.calls], (most_spans, most_calls))

    async def rollup(self, cube: Cube, since_us: int = 0, until_us: int = 0) -> list[RollupRow]:
        if cube not in self._rollups:
            self._rollups[cube] = roll_up(cube, self.calls)
        rows = self._rollups[cube]
        return [r for r in rows if r.start_us >= since_us and (not until_us or r.start_us < until_us)]

    async def top_users(self, since_us: int, until_us: int, project: str, most: int) -> list[RollupRow]:
        rows = [r for r in await self.rollup("day_user", since_us, until_us) if project in ("", r.key[0])]
        calls: Counter[str] = Counter()
        for row in rows:
            calls[row.key[1]] += row.calls
        names = sorted(calls, key=lambda name: (-calls[name], name))[:most]
        return [row for row in rows if row.key[1] in names]

    async def bill(self, query: BillQuery) -> list[BillRow]:
        found: dict[tuple[str, ...], BillRow] = {}
        for call in self.calls:
            o = call.opened
            if not query.since_us <= o.opened_us < (query.until_us or 1 << 62):
                continue
            if any(getattr(query, name) not in ("", value) for name, value in (("project", o.project),)):
                continue
            row = bill_row(call, query.by)
            found[row.key] = found[row.key].plus(row) if row.key in found else row
        return [found[key] for key in sorted(found)]

    async def export(self, query: CallQuery) -> AsyncIterator[list[Call]]:
        found = await self.find(query, payload=True)
        for start in range(0, len(found), 100):
            yield found[start : start + 100]

    async def give_feedback(self, actor: Actor, call_id: str, fields: dict[str, Any]) -> FeedbackGiven:
        call = await self.get(call_id)
        if call is None:
            raise NotFound(f"there is no call {call_id!r}")
        given = FeedbackGiven(
            id=new_id(), call_id=call_id, at_us=self._control.now_us, project=call.opened.project,
            name=fields.get("name") or "rating", score=fields.get("score"), value=fields.get("value", ""),
            comment=fields.get("comment", ""), correction=fields.get("correction", ""), user=actor.name, key="",
        )  # fmt: skip
        at = self.calls.index(call)
        self.calls[at] = msgspec.structs.replace(call, feedback=(*call.feedback, given))
        return given

    async def erase(self, actor: Actor, what: Erasure) -> Erased:
        if not (what.user or what.session):
            raise CallerError("name a user or a session to erase")
        gone = [c for c in self.calls if all(
            not value or getattr(c.opened, name) == value for name, value in msgspec.structs.asdict(what).items()
        )]  # fmt: skip
        self.calls = [c for c in self.calls if c not in gone]
        self._rollups.clear()
        self.erasures += 1
        self._control.note(actor, "calls.erase", what.user or what.session)
        return Erased(calls=len(gone), log_records=0)


class FakePeople:
    """Users with plain passwords."""

    def __init__(self, control: FakeControl) -> None:
        self._control = control
        roles = dict(zip(PASSWORDS, reversed(ROLES), strict=True))
        self._users = {
            name: User(name=name, role=role, created_us=control.now_us) for name, role in roles.items()
        }
        self._passwords = dict(PASSWORDS)
        self._sessions: dict[str, Actor] = {}
        self._failures: dict[str, int] = defaultdict(int)
        self.entries: list[AuditEntry] = []

    async def users(self) -> list[User]:
        return list(self._users.values())

    async def add_user(self, actor: Actor, name: str, role: Any, password: str) -> User:
        if name.lower() in (known.lower() for known in self._users):
            raise CallerError(f"the name {name!r} is taken; choose another", param="name")
        if not re.fullmatch(r"[\w.@-]{1,64}", name, re.ASCII):
            raise CallerError("a name is 1 to 64 letters, digits, `.`, `-`, `_` or `@`", param="name")
        self._check(password)
        self._users[name] = User(name=name, role=role, created_us=self._control.now_us)
        self._passwords[name] = password
        self._control.note(actor, "user.create", name, role=role)
        return self._users[name]

    async def change_user(
        self, actor: Actor, name: str, *, role: Any = None, password: str | None = None,
        disabled: bool | None = None,
    ) -> User:  # fmt: skip
        user = self._user(name)
        if password is not None:
            self._check(password)
            self._passwords[name] = password
        changes = {k: v for k, v in (("role", role), ("disabled", disabled)) if v is not None}
        self._users[name] = msgspec.structs.replace(user, **changes)
        if password is not None or disabled:
            self._sessions = {t: a for t, a in self._sessions.items() if a.name != name}
        self._control.note(
            actor, "user.change", name, **{k: [getattr(user, k), v] for k, v in changes.items()}
        )
        return self._users[name]

    async def change_password(self, actor: Actor, current: str, password: str) -> tuple[str, Actor]:
        self._user(actor.name)
        if self._failures[actor.name] >= 5:
            raise RateLimited("too many failures; try again in a minute")
        if self._passwords[actor.name] != current:
            self._failures[actor.name] += 1
            raise CallerError("this is not the present password", param="current")
        self._check(password)
        self._passwords[actor.name] = password
        self._sessions = {t: a for t, a in self._sessions.items() if a.name != actor.name}
        self._control.note(actor, "user.password", actor.name)
        return self.open(actor)

    async def remove_user(self, actor: Actor, name: str) -> None:
        self._user(name)
        del self._users[name]
        self._control.note(actor, "user.remove", name)

    async def sign_in(self, name: str, password: str, address: str) -> tuple[str, Actor]:
        user = self._users.get(name)
        if self._failures[address] >= 5:
            raise RateLimited("too many failures; try again in a minute")
        if user is None or user.disabled or self._passwords[name] != password:
            self._failures[address] += 1
            raise Unauthenticated("name or password is wrong")
        return self.open(Actor(name=name, role=user.role, via="console", address=address))

    async def sign_in_with_token(self, token: str, address: str) -> tuple[str, Actor]:
        if token != TOKEN:
            raise Unauthenticated("this is not the installation's token")
        return self.open(Actor(name="admin-token", role="admin", via="console", address=address))

    def open(self, actor: Actor) -> tuple[str, Actor]:
        """Open a sign-in; tests take this way in."""
        token = f"session-{len(self._sessions)}-{new_id()}"
        self._sessions[token] = actor
        return token, actor

    async def signed_in(self, token: str) -> Actor | None:
        return self._sessions.get(token)

    async def sign_out(self, token: str) -> None:
        self._sessions.pop(token, None)

    async def audit(
        self, *, actor: str = "", action: str = "", object: str = "", before: str = "", limit: int = 100
    ) -> list[AuditEntry]:
        wanted = {"actor": actor, "action": action, "object": object}
        newest = sorted(self.entries, key=lambda entry: entry.id, reverse=True)
        found = [e for e in newest if all(not v or getattr(e, k) == v for k, v in wanted.items())]
        return [e for e in found if not before or e.id < before][:limit]

    async def refused(self, actor: Actor, action: str, object: str) -> None:
        self._control.note(actor, action, object)
        self.entries[-1] = msgspec.structs.replace(self.entries[-1], outcome="refused")

    def _user(self, name: str) -> User:
        if name not in self._users:
            raise NotFound(f"there is no user {name!r}")
        return self._users[name]

    def _check(self, password: str) -> None:
        if len(password) < SHORTEST_PASSWORD:
            raise CallerError(f"a password has {SHORTEST_PASSWORD} characters or more", param="password")


def budget_row(spec: BudgetSpec, now_us: int, owner: Any = "store", **spent: int) -> BudgetRow:
    """Return a budget with what its subjects have spent in the present period."""
    start_us, end_us = period_of(spec.period, now_us)
    uses = tuple(
        BudgetUse(
            subject=subject if spec.per != "rule" else "",
            spent_nusd=nusd,
            reserved_nusd=nusd // 10,
            remaining_nusd=max(spec.amount_nusd - nusd - nusd // 10, 0),
        )
        for subject, nusd in spent.items()
    )
    return BudgetRow(
        spec=spec, amount_usd=spec.amount_nusd / 1e9, owner=owner, start_us=start_us, end_us=end_us,
        spent_nusd=sum(use.spent_nusd for use in uses), reserved_nusd=sum(use.reserved_nusd for use in uses),
        remaining_nusd=min((use.remaining_nusd for use in uses), default=spec.amount_nusd),
        subjects=len(uses), uses=uses,
    )  # fmt: skip


class FakeObjects:
    """Keys, projects, providers, settings, views."""

    def __init__(self, control: FakeControl) -> None:
        self._control = control
        self._keys: dict[str, KeySpec] = {}
        self._projects = {"default": Project()}
        self._providers: dict[str, ProviderRow] = {}
        self._limits: dict[str, LimitRow] = {}
        self._budgets: dict[str, BudgetRow] = {}
        self._views: dict[str, SavedView] = {}
        self._changes: list[SettingChange] = []
        self._settings = {row.name: row for row in SETTINGS}

    async def keys(self) -> list[KeySpec]:
        return list(self._keys.values())

    async def add_key(
        self, actor: Actor, name: str, project: str, payload: Any, cache_ttl_s: float | None = None
    ) -> tuple[str, KeySpec, Published]:
        if project not in self._projects:
            raise NotFound(f"there is no project {project!r}")
        key = KeySpec(
            id=f"key_{len(self._keys) + 1}", sha256="0" * 64, name=name, project=project, payload=payload,
            created_us=self._control.now_us, cache_ttl_s=cache_ttl_s,
        )  # fmt: skip
        self._keys[key.id] = key
        self._control.note(actor, "key.create", name, project=project)
        return f"tt-{new_id()}", key, self._control.published()

    async def revoke_key(self, actor: Actor, key_id: str) -> Published:
        if self._keys.pop(key_id, None) is None:
            raise NotFound(f"there is no key {key_id!r}")
        self._control.note(actor, "key.revoke", key_id)
        return self._control.published()

    async def projects(self) -> list[Project]:
        return list(self._projects.values())

    async def put_project(self, actor: Actor, project: Project) -> Published:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", project.name):
            raise CallerError("a project's name is 1 to 63 small letters, digits and dashes", param="name")
        self._projects[project.name] = project
        self._control.note(actor, "project.put", project.name)
        return self._control.published()

    async def remove_project(self, actor: Actor, name: str) -> Published:
        if name == "default":
            raise CallerError("the project `default` is always there")
        if self._projects.pop(name, None) is None:
            raise NotFound(f"there is no project {name!r}")
        self._control.note(actor, "project.remove", name)
        return self._control.published()

    async def providers(self) -> list[ProviderRow]:
        return list(self._providers.values())

    async def put_provider(self, actor: Actor, spec: ProviderSpec, *, api_key: str | None) -> Published:
        known = self._providers.get(spec.name)
        if api_key is not None and actor.role != "admin":
            raise Forbidden("only an admin may enter a provider's key")
        if api_key is None and known and known.key_set and known.base_url != spec.base_url:
            raise CallerError("the key was entered for another address: enter it again", param="api_key")
        if known and known.owner == "file":
            raise CallerError(f"the configuration file declares {spec.name!r}; change it there", param="name")
        if "169.254" in spec.base_url or "10." in spec.base_url:
            raise CallerError("base_url points into a private network", param="base_url")
        self._providers[spec.name] = ProviderRow(
            name=spec.name, kind=spec.kind, base_url=spec.base_url, models=spec.models, owner="store",
            key_set=api_key is not None or bool(known and known.key_set),
            key_hint=f"…{api_key[-4:]}" if api_key else known.key_hint if known else "",
            rotated_us=self._control.now_us if api_key else known.rotated_us if known else 0,
            headers=tuple(sorted(spec.headers)), max_connections=spec.max_connections, deadlines=spec.deadlines,
            options=tuple(sorted(spec.options)),
        )  # fmt: skip
        machine = self._control.machine
        machine.providers = (*(one for one in machine.providers if one.name != spec.name), spec)
        self._control.note(actor, "provider.rotate" if known and api_key else "provider.put", spec.name)
        return self._control.published()

    async def rotate_key(self, actor: Actor, name: str, api_key: str) -> Published:
        if actor.role != "admin":
            raise Forbidden("only an admin may enter a provider's key")
        if name not in self._providers:
            raise NotFound(f"there is no provider {name!r}")
        row = self._providers[name]
        if row.owner == "file":
            raise CallerError(f"the configuration file declares {name!r}; change it there", param="name")
        self._providers[name] = msgspec.structs.replace(
            row, key_set=bool(api_key), key_hint=f"…{api_key[-4:]}", rotated_us=self._control.now_us
        )
        self._control.note(actor, "provider.rotate", name)
        return self._control.published()

    async def remove_provider(self, actor: Actor, name: str) -> Published:
        if name not in self._providers:
            raise NotFound(f"there is no provider {name!r}")
        if self._providers[name].owner == "file":
            raise CallerError(f"the configuration file declares {name!r}; remove it there")
        del self._providers[name]
        machine = self._control.machine
        machine.providers = tuple(one for one in machine.providers if one.name != name)
        self._control.note(actor, "provider.remove", name)
        return self._control.published()

    async def after_removal(self, name: str) -> list[Moved]:
        if name not in self._providers:
            raise NotFound(f"there is no provider {name!r}")
        others = [row for row in self._providers.values() if row.name != name and not row.models]
        called = [f"{name}/{model}" for model in self._providers[name].models or ("…",)]
        return [
            Moved(name=one, goes_to=f"{others[0].name}/{one}" if others else "", error_code="model_not_found")
            for one in called
        ]

    async def test_provider(self, actor: Actor, name: str) -> ProviderTest:
        if name not in self._providers:
            raise NotFound(f"there is no provider {name!r}")
        self._control.note(actor, "provider.test", name)
        if not self._providers[name].key_set:
            return ProviderTest(
                ok=False, took_ms=87, error_code="provider_auth_failed", message="401: no such key",
                asked=f"GET https://{name}.example.org/v1/models", patience_s=10.0,
            )  # fmt: skip
        row = self._providers[name]
        return ProviderTest(
            ok=True, took_ms=212, models=row.models, asked=f"GET {row.base_url}/models", patience_s=10.0,
            sent=("Authorization", *row.headers),
        )  # fmt: skip

    async def limits(self) -> list[LimitRow]:
        return list(self._limits.values())

    async def put_limit(self, actor: Actor, spec: LimitSpec) -> Published:
        if not (spec.requests_per_minute or spec.tokens_per_minute or spec.concurrency):
            raise CallerError("the limit limits nothing", param="requests_per_minute")
        return self._put_rule(actor, "limit", self._limits, LimitRow(spec=spec, owner="store", subjects=0))

    async def remove_limit(self, actor: Actor, name: str) -> Published:
        return self._remove_rule(actor, "limit", self._limits, name)

    async def budgets(self) -> list[BudgetRow]:
        return list(self._budgets.values())

    async def put_budget(self, actor: Actor, spec: BudgetSpec) -> Published:
        return self._put_rule(actor, "budget", self._budgets, budget_row(spec, self._control.now_us))

    async def remove_budget(self, actor: Actor, name: str) -> Published:
        return self._remove_rule(actor, "budget", self._budgets, name)

    def _put_rule(self, actor: Actor, noun: str, rules: dict[str, Any], row: Any) -> Published:
        known = rules.get(row.spec.name)
        if known and known.owner == "file":
            raise CallerError(
                f"the configuration file declares {row.spec.name!r}; change it there", param="name"
            )
        rules[row.spec.name] = row
        self._control.note(actor, f"{noun}.change" if known else f"{noun}.create", row.spec.name)
        return self._control.published()

    def _remove_rule(self, actor: Actor, noun: str, rules: dict[str, Any], name: str) -> Published:
        if name not in rules:
            raise NotFound(f"there is no {noun} {name!r}")
        if rules[name].owner == "file":
            raise CallerError(f"the configuration file declares {name!r}; remove it there")
        del rules[name]
        self._control.note(actor, f"{noun}.remove", name)
        return self._control.published()

    async def settings(self) -> list[SettingRow]:
        return list(self._settings.values())

    async def change_setting(self, actor: Actor, name: str, value: str) -> Published:
        if name not in self._settings:
            raise NotFound(f"there is no setting {name!r}")
        row = self._settings[name]
        if row.owner == "file":
            raise CallerError(f"the configuration file sets {name!r}; change it there")
        if value and row.kind == "choice" and value not in row.choices:
            raise CallerError(f"{name} {value!r} must be one of {', '.join(row.choices)}")
        if value and row.kind == "number" and not value.isdigit():
            raise CallerError(f"{name}: {value!r} cannot be used; it takes a number", param="value")
        after = value or row.default
        self._changes.append(
            SettingChange(
                at_us=self._control.now_us, actor=actor.name, name=name, before=row.value, after=after
            )
        )
        self._settings[name] = msgspec.structs.replace(
            row, value=after, owner="store" if value else "default"
        )
        self._control.note(actor, "setting.change", name, value=[row.value, after])
        return self._control.published()

    async def setting_changes(self, limit: int = 100) -> list[SettingChange]:
        return self._changes[::-1][:limit]

    async def views(self) -> list[SavedView]:
        return list(self._views.values())

    async def add_view(self, actor: Actor, name: str, query: str) -> SavedView:
        if not name:
            raise CallerError("a view needs a name", param="name")
        view = SavedView(
            id=new_id(), name=name, owner=actor.name, query=query, created_us=self._control.now_us
        )
        self._views[view.id] = view
        return view

    async def remove_view(self, actor: Actor, view_id: str) -> None:
        if view_id not in self._views:
            raise NotFound(f"there is no view {view_id!r}")
        if actor.role != "admin" and self._views[view_id].owner != actor.name:
            raise Forbidden("this view is somebody else's")
        del self._views[view_id]


class FakeMachine:
    """A healthy installation."""

    def __init__(self, control: FakeControl) -> None:
        self._control = control
        self.generation = 7
        self.seen_targets: list[TargetHealth] = []
        self.unrecorded = 0
        self.providers: tuple[ProviderSpec, ...] = ()

    async def health(self) -> dict[str, Any]:
        names = ("worker 0", "worker 1", "recorder", "control")
        return {
            "status": "ok",
            "generation": self.generation,
            "workers": {"worker 0": self.generation, "worker 1": self.generation},
            "processes": [{"name": name, "pid": 4000 + i, "ready": True} for i, name in enumerate(names)],
            "supervisor": 3999,
            "gateway": "http://127.0.0.1:8400",
            "data_dir": str(Path("/var/lib/trimtab")),
            "ledger": {"files": 2, "bytes": 48_231},
            "disk": {"free_bytes": 81_000_000_000, "total_bytes": 99_000_000_000, "used_bytes": 312_000_000},
            "counters": {"requests": 18_231, "unrecorded_opened": self.unrecorded, "unrecorded_closed": 0},
        }

    async def restart(self, actor: Actor) -> Restarted:
        return Restarted(replaced=2, done=True)

    async def fill_demo(self, actor: Actor) -> DemoFilled:
        return DemoFilled(calls=0)

    async def targets(self) -> list[TargetHealth]:
        return self.seen_targets

    async def snapshot(self) -> Snapshot:
        return Snapshot(generation=self.generation, providers=self.providers)

    async def readings(self, limit: int) -> list[ConfigReading]:
        return list(READINGS[:limit])

    async def reload(self, actor: Actor) -> Published:
        self._control.note(actor, "config.reload", "trimtab.toml")
        return self._control.published()

    async def back_up(self, actor: Actor, target: str) -> dict[str, Any]:
        self._control.note(actor, "data.backup", target)
        return {"path": target, "files": 7, "bytes": 312_000_000, "began_us": self._control.now_us}


READINGS = (
    ConfigReading(
        at_us=1_790_000_000_000_000, actor="ada", cause="reload", taken=True, sha256="ab" * 32,
        changes=(ConfigChange(name="routes.support.production", before='"<b>"', after=""),), left_out=3,
        notes=("gateway.port has changed; that takes effect at the next start of `trimtab up`",),
    ),
    ConfigReading(
        at_us=1_780_000_000_000_000, actor="system", cause="start", taken=False, error="gateway.prot: unknown key",
    ),
)  # fmt: skip

SETTINGS = (
    SettingRow(
        name="data.payload", value="full", default="full", owner="default", kind="choice",
        choices=("full", "hash", "none"), about="What is kept of requests and answers.",
    ),
    SettingRow(
        name="data.keep_days", value="30", default="0", owner="file", kind="number",
        about="Days that calls are kept; 0 keeps them for good.",
    ),
    SettingRow(
        name="gateway.open_access", value="true", default="true", owner="default", kind="flag",
        about="Whether programs on this machine may call without a key.",
    ),
    SettingRow(
        name="models.default", value="", default="", owner="default", kind="text",
        about="The model that answers where a caller names none that is known.",
    ),
    SettingRow(
        name="retry.attempts", value="3", default="3", owner="default", kind="number", about="Tries per target.",
    ),
)  # fmt: skip


def matches(call: Call, query: CallQuery) -> bool:
    """Return whether a call is one that the query means."""
    opened, closed = call.opened, call.closed
    model = (closed.model if closed else "") or opened.model
    at_us = id_time_us(call.id)
    tests = (
        not query.before or call.id < query.before,
        not query.since_us or at_us >= query.since_us,
        not query.until_us or at_us < query.until_us,
        not query.model
        or (model.startswith(query.model) if query.model.endswith("/") else model == query.model),
        not query.provider or (closed.provider if closed else model.partition("/")[0]) == query.provider,
        not query.state or call.state == query.state,
        not query.purpose or opened.purpose == query.purpose,
        not query.error_code or (closed.error_code if closed else "") == query.error_code,
        not query.tag or query.tag in opened.tags,
        not query.text or in_words(call, query.text),
    )
    plain = ("project", "route", "release", "key", "user", "session")
    return all(tests) and all(not getattr(query, n) or getattr(query, n) == getattr(opened, n) for n in plain)


def in_words(call: Call, text: str) -> bool:
    words = (call.opened.request + (call.closed.response if call.closed else b"")).decode("utf-8", "replace")
    return all(word.lower() in words.lower() for word in text.replace('"', "").split())


def bare(call: Call) -> Call:
    """Return a call without its words, as `find` gives it without payload."""
    closed = call.closed and msgspec.structs.replace(call.closed, response=b"")
    opened = msgspec.structs.replace(call.opened, request=b"", variables=b"")
    return msgspec.structs.replace(call, opened=opened, closed=closed)


def session_row(calls: list[Call]) -> SessionRow:
    """Sum up one session's calls, newest first."""
    newest, oldest = calls[0], calls[-1]
    return SessionRow(
        session=newest.opened.session, project=newest.opened.project, user=newest.opened.user,
        calls=len(calls), errors=sum(c.state == "error" for c in calls),
        cost_nusd=sum(c.closed.cost_nusd for c in calls if c.closed),
        first_us=oldest.opened.opened_us, last_us=newest.opened.opened_us, last_call=newest.id,
    )  # fmt: skip


def roll_up(cube: Cube, calls: list[Call]) -> list[RollupRow]:
    """Compute a cube from calls."""
    cells: dict[tuple[Any, ...], list[Call]] = defaultdict(list)
    step = _STEPS[cube] * _US_PER_S
    for call in calls:
        o = call.opened
        model = (call.closed.model if call.closed else "") or o.model
        key = {
            "hour_model": (o.project, model),
            "hour_prompt": (o.project, o.prompt_name, str(o.prompt_version)),
            "day_user": (o.project, o.user),
            "minute_project": (o.project,),
            "sixhour_model": (o.project, model),
        }[cube]
        if o.purpose == "live" and all(key[1:2]):
            cells[(id_time_us(call.id) // step * step, *key)].append(call)
    return [cell_row(cube, at[0], at[1:], inside) for at, inside in sorted(cells.items())]


def cell_row(cube: Cube, start_us: int, key: tuple[str, ...], calls: list[Call]) -> RollupRow:
    """Sum up one cell."""
    closed = [c.closed for c in calls if c.closed]
    return RollupRow(
        cube=cube, start_us=start_us, key=key, calls=len(calls), errors=sum(c.state == "error" for c in calls),
        unfinished=sum(c.state == "unfinished" for c in calls),
        estimated=sum(c.usage.estimated for c in closed), cost_nusd=sum(c.cost_nusd for c in closed),
        input_tokens=sum(c.usage.input_tokens for c in closed),
        output_tokens=sum(c.usage.output_tokens for c in closed),
        latency=LogHistogram([c.latency_ms for c in calls if c.latency_ms is not None]).pack(),
    )  # fmt: skip


def bill_row(call: Call, by: tuple[str, ...]) -> BillRow:
    """Return one call as a row of a bill."""
    o, c = call.opened, call.closed
    model = (c.model if c else "") or o.model
    keys = {
        "day": datetime.fromtimestamp(o.opened_us / 1e6, UTC).strftime("%Y-%m-%d"),
        "project": o.project, "key": o.key, "user": o.user, "route": o.route, "model": model,
        "provider": c.provider if c else "",
    }  # fmt: skip
    key = tuple(keys[name] for name in by)
    if c is None:
        return BillRow(key=key, calls=1, unfinished=1)
    used = c.usage.input_tokens > 0 or c.usage.output_tokens > 0
    return BillRow(
        key=key, calls=1, requests=used, estimated=c.usage.estimated, unpriced=used and not c.price_version,
        input_tokens=c.usage.input_tokens, cached_tokens=c.usage.cached_tokens,
        output_tokens=c.usage.output_tokens, cost_nusd=c.cost_nusd,
    )  # fmt: skip
