"""Every route of the admin API, with the one permission that it wants."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from gateway.config.snapshot import Permission
from gateway.web.api import keys, ledger, providers, running
from gateway.web.api.asked import Answer, Asked
from gateway.web.api.desk import Desk

Handler = Callable[[Desk, Asked], Awaitable[Answer]]
"""Answers a request that is allowed. What it raises is told as `refusals` has it."""


class Row(NamedTuple):
    """One route."""

    method: str
    path: str
    """With `{name}` for what may be any text."""
    permission: Permission | None
    """None: any valid token will do."""
    handler: Handler


TABLE = (
    Row("GET", "/api/providers", "llm_provider.view", providers.list_all),
    Row("POST", "/api/providers", "llm_provider.create", providers.create),
    Row("POST", "/api/providers/discover", "llm_provider.create", providers.discover),
    Row("GET", "/api/providers/{name}", "llm_provider.view", providers.show),
    Row("PATCH", "/api/providers/{name}", "llm_provider.edit", providers.edit),
    Row("DELETE", "/api/providers/{name}", "llm_provider.delete", providers.delete),
    Row("POST", "/api/providers/{name}/test", "llm_provider.test", providers.test),
    Row("POST", "/api/providers/{name}/models", "llm_provider.test", providers.models),
    Row("GET", "/api/keys", "key.view", keys.list_all),
    Row("POST", "/api/keys", "key.create", keys.create),
    Row("GET", "/api/keys/{name}", "key.view", keys.show),
    Row("PATCH", "/api/keys/{name}", "key.edit", keys.edit),
    Row("DELETE", "/api/keys/{name}", "key.delete", keys.revoke),
    Row("POST", "/api/keys/{name}/rotate", "key.edit", keys.rotate),
    Row("GET", "/api/usage", "usage.view", ledger.usage),
    Row("GET", "/api/requests", "usage.view", ledger.requests),
    Row("GET", "/api/audit", "config.view", ledger.audit),
    Row("GET", "/api/models", "config.view", running.models),
    Row("GET", "/api/config", "config.view", running.config),
    Row("POST", "/api/reload", "config.reload", running.reload),
    Row("GET", "/api/whoami", None, running.whoami),
)
