"""One request to the admin API, as handlers see it, and their answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from starlette.requests import Request

from gateway.admin.service import Seen
from gateway.admin.wanted import Fault, Unreadable
from gateway.config.complaints import did_you_mean
from gateway.config.snapshot import AdminToken
from gateway.core.call import Json
from gateway.core.deed import Actor
from gateway.core.errors import InvalidRequest, NotServed

LARGEST = 64 * 2**10
"""Bytes of a body. An entry of the configuration has some hundred."""

DEEPEST = 8
"""Levels of nesting in a body."""

_TAG = re.compile(r'"(\d{1,18})"', re.ASCII)


class Answer(NamedTuple):
    """JSON, or text of another kind."""

    said: Json | str
    status: int = 200
    headers: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request whose token may ask for it."""

    request: Request
    token: AdminToken
    path: Mapping[str, str]
    """What stands in the path, by the names that the table has for it."""

    @property
    def actor(self) -> Actor:
        """For the audit log. Behind a proxy, the address is the proxy's."""
        client = self.request.client
        return Actor("api", self.token.name, client.host if client else "")

    @property
    def seen(self) -> Seen:
        """The versions that `If-Match` speaks of: https://www.rfc-editor.org/rfc/rfc9110#section-13.1.1."""
        tags = ",".join(self.request.headers.getlist("if-match")).strip()
        if not tags or tags == "*":
            return None
        return {int(found[1]) for tag in tags.split(",") if (found := _TAG.fullmatch(tag.strip()))}

    def query(self, *known: str) -> dict[str, str]:
        """What the URL asks for, by name. Raises Unreadable for anything else than these."""
        asked = self.request.query_params.multi_items()
        names = [name for name, _ in asked]
        faults = _unknown(names, known)
        faults += [Fault(name, "is given twice") for name in sorted(set(names)) if names.count(name) > 1]
        if faults:
            raise Unreadable(faults)
        return dict(asked)

    async def body(self) -> Json:
        """The object that was sent, which is empty where nothing was.

        Raises NotServed for what is no JSON or too large, InvalidRequest for what is no object.
        """
        raw = await self._raw()
        if not raw:
            return {}
        if self.request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            # No browser sends this type to another site without asking it first.
            raise NotServed(415, "The body must be JSON: send the header `content-type: application/json`.")
        try:
            said = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise InvalidRequest(f"The body is not JSON: {error}.") from None
        if not isinstance(said, dict) or _is_deep(said):
            raise InvalidRequest(f"The body must be a JSON object of at most {DEEPEST} levels.")
        return said

    async def fields(self, *known: str) -> Json:
        """The same, for an object that has only these fields. Raises Unreadable as well."""
        said = await self.body()
        if faults := _unknown(said, known):
            raise Unreadable(faults)
        return said

    async def _raw(self) -> bytes:
        if "content-encoding" in self.request.headers:
            raise NotServed(415, "Compressed requests are not accepted; send the body without a content-encoding.")
        pieces = bytearray()
        async for piece in self.request.stream():
            pieces += piece
            if len(pieces) > LARGEST:
                raise NotServed(413, f"The body is larger than {LARGEST} bytes.", code="request_too_large")
        return bytes(pieces)


def _unknown(names: Any, known: tuple[str, ...]) -> list[Fault]:
    return [Fault(name, f"is not a field here{did_you_mean(name, known)}") for name in names if name not in known]


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for each in level for inner in _inside(each)]
    return bool(level)


def _inside(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
