"""The admin HTTP API, `/api/v1/...`: what the command line and programs ask of the control process.

Owns paths, JSON shapes, roles by route and the OpenAPI document; one file per noun, one table of routes.
Promises: no answer but to who is signed in and has the role, nor to a foreign web page or a re-bound name; refused
attempts are audited; secrets are masked; a change returns once every living worker obeys it, or says which do not.
Never opens a store, starts a process or reads a file: it asks the `Control` port.
Entry: `make_api(control, token, bound_to_loopback=...)`.
"""

from .alert_port import AlertRow, Alerts, WebhookRow, WebhookTest
from .answers import (
    BudgetRow,
    BudgetUse,
    ConfigChange,
    ConfigReading,
    DemoFilled,
    Erased,
    LimitRow,
    LimitUse,
    Moved,
    ProviderRow,
    ProviderTest,
    Published,
    Restarted,
    SettingRow,
)
from .app import ROUTES, make_api
from .machine_port import Machine
from .nouns import CallRow, call_query, call_row, is_trace_id, model_rows, trace_reply
from .openapi import document
from .port import Control, Objects, People
from .records_port import Records
from .table import Route

__all__ = [
    "ROUTES",
    "AlertRow",
    "Alerts",
    "BudgetRow",
    "BudgetUse",
    "CallRow",
    "ConfigChange",
    "ConfigReading",
    "Control",
    "DemoFilled",
    "Erased",
    "LimitRow",
    "LimitUse",
    "Machine",
    "Moved",
    "Objects",
    "People",
    "ProviderRow",
    "ProviderTest",
    "Published",
    "Records",
    "Restarted",
    "Route",
    "SettingRow",
    "WebhookRow",
    "WebhookTest",
    "call_query",
    "call_row",
    "document",
    "is_trace_id",
    "make_api",
    "model_rows",
    "trace_reply",
]
