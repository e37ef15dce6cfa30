"""The admin API: what people and the dashboard do over HTTP, with a token of `admin.tokens`.

`table` has every route with the one permission that it wants, `door` is what all requests come through, and the other
modules have the handlers.
"""

from __future__ import annotations

from starlette.routing import BaseRoute, Route

from gateway.web.api.desk import Desk
from gateway.web.api.door import Door
from gateway.web.api.table import TABLE


def routes(desk: Desk) -> list[BaseRoute]:
    """Everything below /api, whether there is something or not: nothing there is answered without a token."""
    return [Route("/api/{rest:path}", Door(desk, TABLE))]
