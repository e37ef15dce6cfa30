"""The HTTP surface: which path is answered by what.

Chat is raw ASGI; the rest, which nobody is in a hurry for, is Starlette.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hmac import compare_digest

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.core.call import Json
from gateway.core.errors import GatewayError, NotServed, Unauthorized, UnknownModel
from gateway.policy import access
from gateway.web.auth import principal, token, told
from gateway.web.chat import Chat, Office, request_id

CHAT_PATHS = frozenset({"/v1/chat/completions", "/chat/completions"})
AZURE_PREFIX, AZURE_SUFFIX = "/openai/deployments/", "/chat/completions"
"""Azure's SDKs put the model into the path."""


class App:
    """The whole application."""

    def __init__(self, office: Office, exposition: Callable[[], bytes], content_type: str) -> None:
        self._chat = Chat(office)
        self._rest = with_request_id(_pages(office, exposition, content_type))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if scope["method"] != "POST":
            await self._rest(scope, receive, send)
        elif path in CHAT_PATHS:
            await self._chat(scope, receive, send)
        elif model := _deployment(path):
            await self._chat(scope, receive, send, model)
        else:
            await self._rest(scope, receive, send)


def _deployment(path: str) -> str:
    """The model in one of Azure's paths, or nothing."""
    if path.startswith(AZURE_PREFIX) and path.endswith(AZURE_SUFFIX):
        return path[len(AZURE_PREFIX) : -len(AZURE_SUFFIX)]
    return ""


def _pages(office: Office, exposition: Callable[[], bytes], content_type: str) -> Starlette:
    pages = Pages(office, exposition, content_type)
    chat_paths = (*sorted(CHAT_PATHS), AZURE_PREFIX + "{model:path}" + AZURE_SUFFIX)
    app = Starlette(
        routes=[
            *(Route(path, pages.models) for path in ("/v1/models", "/models")),
            *(Route(path, pages.model) for path in ("/v1/models/{id:path}", "/models/{id:path}")),
            *(Route(path, pages.live) for path in ("/healthz/live", "/health/liveliness")),
            *(Route(path, pages.ready) for path in ("/healthz/ready", "/health/readiness")),
            Route("/metrics", pages.metrics),
            # Calls do not come this way: these are here so that any other method is told which one is meant.
            *(Route(path, _nothing, methods=["POST"]) for path in chat_paths),
        ],
        exception_handlers={
            GatewayError: lambda request, error: _refusal(error),
            HTTPException: lambda request, error: _refusal(_as_ours(request, error), error.headers),
            Exception: lambda request, error: _defect(office, request, error),
        },
    )
    app.router.redirect_slashes = False
    return app


class Pages:
    """The endpoints beside the calls themselves."""

    def __init__(self, office: Office, exposition: Callable[[], bytes], content_type: str) -> None:
        self._office = office
        self._exposition = exposition
        self._content_type = content_type

    async def models(self, request: Request) -> Response:
        """`GET /v1/models`: the public names this key may use."""
        return _json({"object": "list", "data": [self._told(name, owner) for name, owner in self._visible(request)]})

    async def model(self, request: Request) -> Response:
        """`GET /v1/models/{id}`: one of them. The id may hold slashes."""
        name = request.path_params["id"]
        for visible, owner in self._visible(request):
            if visible == name:
                return _json(self._told(name, owner))
        raise UnknownModel("There is no such model, or this key may not use it. `GET /v1/models` lists those it may.")

    async def live(self, request: Request) -> Response:
        """The event loop turns. Says nothing of providers: a restart would not mend those."""
        return _json({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """A configuration is loaded and calls are taken."""
        return _json({"status": "ready", "config": self._office.live.house.snapshot.digest[:12]})

    async def metrics(self, request: Request) -> Response:
        wanted = self._office.live.house.snapshot.server.metrics_key
        if wanted and not compare_digest(token(told(request.headers.raw)), wanted.reveal().encode()):
            raise Unauthorized("/metrics wants the bearer token of server.metrics_key.")
        return Response(self._exposition(), media_type=self._content_type)

    def _visible(self, request: Request) -> list[tuple[str, str]]:
        """(public name, provider of its first target) of what the caller may use."""
        snapshot = self._office.live.house.snapshot
        key = principal(told(request.headers.raw), snapshot, self._office.now())
        return [
            (name, model.targets[0].provider) for name, model in snapshot.models.items() if access.may_use(key, name)
        ]

    def _told(self, name: str, owner: str) -> Json:
        # When a model was made is the provider's to say; clients only want a number here.
        return {"id": name, "object": "model", "created": 0, "owned_by": owner}


def with_request_id(app: ASGIApp) -> ASGIApp:
    """Every answer carries a request id."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        id = scope["request_id"] = request_id(told(scope["headers"]))

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-request-id", id.encode())]
            await send(message)

        await app(scope, receive, send_with_id)

    return wrapped


async def _nothing(request: Request) -> Response:
    raise HTTPException(404)


def _json(body: Json, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, headers, "application/json")


def _refusal(error: GatewayError, headers: Mapping[str, str] | None = None) -> Response:
    challenge = {"www-authenticate": "Bearer"} if error.status == 401 else {}
    return _json(error.envelope(), error.status, {**challenge, **(headers or {})})


def _defect(office: Office, request: Request, error: Exception) -> Response:
    office.crashed(request.scope["request_id"], error)
    return _refusal(GatewayError("The gateway failed. This is a defect; its log has the details."))


def _as_ours(request: Request, error: HTTPException) -> GatewayError:
    """The framework's own refusals, in our envelope."""
    words = {
        404: "There is nothing at this path. Calls go to POST /v1/chat/completions; GET /v1/models lists the models.",
        405: f"{request.method} is not possible here.",
    }
    return NotServed(error.status_code, words.get(error.status_code, error.detail))
