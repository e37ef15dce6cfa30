"""Where every request to the admin API comes in: who asks, whether they may, and who answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from hmac import compare_digest
from urllib.parse import unquote

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.config.snapshot import AdminToken
from gateway.core.errors import GatewayError, NotServed, Unauthorized
from gateway.web.api.asked import Answer, Asked
from gateway.web.api.desk import Desk
from gateway.web.api.refusals import Denied, told
from gateway.web.api.table import Row

OFF = "The admin API is off, because the configuration names no admin tokens: write admin: {tokens: [...]}."
"""Told with a 404: there is nothing here, and no token would change that."""

REFUSED = "No valid admin token was given. Send one of admin.tokens as `Authorization: Bearer TOKEN`."
"""One answer for a missing and a wrong token."""

HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
"""Of every answer."""

DEFECT = GatewayError("The gateway failed. This is a defect; its log has the details under this request's id.")


class Door:
    """An ASGI application for a table of routes. Nothing but what stands in the table is behind it."""

    def __init__(self, desk: Desk, table: Sequence[Row]) -> None:
        self._desk = desk
        self._table = [(row.path.split("/"), row) for row in table]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            answer = await self._answer(request)
        except ClientDisconnect:
            return
        except Exception as error:
            answer = self._refusal(request, error)
        await _response(answer)(scope, receive, send)

    async def _answer(self, request: Request) -> Answer:
        token = self._holder(request)
        found = self._found(request)
        if request.method not in found:
            raise _NotPossible(request.method, found)
        row, path = found[request.method]
        if row.permission is not None and row.permission not in token.permissions:
            self._desk.say("warning", "admin_denied", who=token.name, wanted=row.permission, path=row.path)
            raise Denied(f"The token `{token.name}` lacks the permission {row.permission}.")
        return await row.handler(self._desk, Asked(request, token, path))

    def _holder(self, request: Request) -> AdminToken:
        """Whose token was sent. Raises NotServed where there are none, and Unauthorized."""
        tokens = self._desk.snapshot().admin.tokens
        if not tokens:
            raise NotServed(404, OFF, code="admin_api_off")
        scheme, _, sent = request.headers.get("authorization", "").partition(" ")
        found = holder(tokens, sent.strip().encode("latin-1") if scheme.lower() == "bearer" else b"")
        if found is None:
            address = request.client.host if request.client else ""
            self._desk.say("warning", "admin_refused", address=address)
            raise Unauthorized(REFUSED, code="invalid_admin_token")
        return found

    def _found(self, request: Request) -> Mapping[str, tuple[Row, dict[str, str]]]:
        """By method, what stands in the table for this path. Raises NotServed where nothing does."""
        # Not the path that Starlette has decoded: a name may hold a slash.
        steps = request.scope["raw_path"].decode("ascii", "replace").split("/")
        found = {row.method: (row, path) for wanted, row in self._table if (path := match(wanted, steps)) is not None}
        if not found:
            raise NotServed(404, "There is nothing at this path of the admin API.", code="not_found")
        return found

    def _refusal(self, request: Request, error: Exception) -> Answer:
        if (said := told(error)) is None:
            self._desk.crashed(request.scope["request_id"], error)
            return Answer(DEFECT.envelope(), DEFECT.status)
        status, body = said
        headers = {"www-authenticate": "Bearer"} if status == 401 else {}
        return Answer(body, status, error.headers if isinstance(error, _NotPossible) else headers)


class _NotPossible(NotServed):
    """There is something at this path, and it is asked for by another method."""

    def __init__(self, method: str, others: Iterable[str]) -> None:
        super().__init__(405, f"{method} is not possible here; there is {', '.join(others)}.")
        self.headers = {"allow": ", ".join(others)}


def holder(tokens: Iterable[AdminToken], sent: bytes) -> AdminToken | None:
    """Whose token this is. Takes as long whoever's it is, and if it is nobody's."""
    digest, found = sha256(sent).digest(), None
    for token in tokens:
        if compare_digest(token.digest, digest):
            found = token
    return found


def match(wanted: Sequence[str], steps: Sequence[str]) -> dict[str, str] | None:
    """What stands in the place of each `{name}`, decoded; None if it is another path."""
    if len(wanted) != len(steps):
        return None
    found = {}
    for want, step in zip(wanted, steps, strict=True):
        if want.startswith("{") and step:
            found[want[1:-1]] = unquote(step)
        elif want != step:
            return None
    return found


def _response(answer: Answer) -> Response:
    headers = {**HEADERS, **answer.headers}
    if isinstance(answer.said, str):
        return Response(answer.said, answer.status, headers)
    return Response(orjson.dumps(answer.said), answer.status, headers, "application/json")
