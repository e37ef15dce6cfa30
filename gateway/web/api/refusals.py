"""What goes wrong behind the door, as it is told: the envelope of all errors, and a status for each kind."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.admin import service
from gateway.admin.providers import InUse
from gateway.admin.wanted import Unreadable
from gateway.config.complaints import Complaint, ConfigError
from gateway.core.call import Json
from gateway.core.errors import GatewayError
from gateway.store.errors import DatabaseAway
from gateway.store.sealed import KeyAway, Locked, NoKey

TABLE: Mapping[type[Exception], tuple[int, str]] = {
    service.Missing: (404, "not_found"),
    service.Declared: (409, "declared_in_file"),
    service.Taken: (409, "name_taken"),
    service.Over: (409, "not_valid"),
    service.Changed: (409, "changed_meanwhile"),
    service.Stale: (412, "changed_since_seen"),
    service.NoDatabase: (409, "no_database"),
    InUse: (409, "in_use"),
    service.NotDone: (409, "not_done"),
    NoKey: (409, "no_encryption_key"),
    Locked: (409, "secret_locked"),
    KeyAway: (503, "encryption_key_away"),
    DatabaseAway: (503, "database_away"),
}
"""By kind: the status and the code. A kind that is not here is told as the one that it is a kind of."""


class Denied(GatewayError):
    """The token is valid, and may not do this."""

    status = 403
    type = "invalid_request_error"
    code = "permission_denied"


def told(error: Exception) -> tuple[int, Json] | None:
    """The status and the body; None for a defect.

    Where several things are to be mended, all of them are in `details`, and the first in `message` and `param`.
    """
    if isinstance(error, GatewayError):
        return error.status, error.envelope()
    if isinstance(error, Unreadable):
        faults = [{"param": path or None, "message": message} for path, message in error.faults]
        return 400, _envelope(str(error), "invalid_value", error.faults[0].path or None, faults)
    if isinstance(error, ConfigError):
        complaints = [complaint(each) for each in error.complaints]
        return 400, _envelope(str(error), "configuration_refused", error.complaints[0].path or None, complaints)
    for kind in type(error).__mro__:
        if kind in TABLE:
            status, code = TABLE[kind]
            words = f"The database cannot be asked now: {error}" if kind is DatabaseAway else str(error)
            return status, _envelope(words, code, type="server_error" if status >= 500 else "invalid_request_error")
    return None


def _envelope(
    message: str,
    code: str,
    param: str | None = None,
    details: list[Json] | None = None,
    type: str = "invalid_request_error",
) -> Json:
    said: Json = {"message": message, "type": type, "param": param, "code": code}
    return {"error": {**said, "details": details} if details else said}


def complaint(each: Complaint) -> Json:
    """Where in the configuration something is to be mended, and what."""
    return {name: getattr(each, name) for name in ("file", "line", "column", "path", "message")}
