"""The HTTP surface: which path is answered by what.

Calls go the way of the `Line`; the rest, which nobody is in a hurry for, is Starlette.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hmac import compare_digest
from urllib.parse import unquote, urlsplit

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.core.call import Json
from gateway.core.errors import GatewayError, NotServed, Unauthorized, UnknownModel
from gateway.policy import access
from gateway.surfaces import openai_chat, openai_embeddings
from gateway.web.auth import principal, token, told
from gateway.web.endpoint import Accept, Endpoint, Office, request_id
from gateway.web.line import Handler
from gateway.web.refusals import shutting_down

ENDPOINTS: Mapping[str, tuple[str, Accept]] = {
    "/chat/completions": ("chat", openai_chat.accept),
    "/embeddings": ("embeddings", openai_embeddings.accept),
}
"""By path: an endpoint's name, and how its requests are read. The path stands alone, behind /v1, or as Azure's."""

AZURE_PREFIX = "/openai/deployments/"
"""Azure's SDKs put the model into the path, between this and the endpoint's own."""


class App:
    """The whole application."""

    def __init__(
        self,
        office: Office,
        exposition: Callable[[], bytes],
        content_type: str,
        more: Sequence[BaseRoute] = (),
    ) -> None:
        self._endpoints = {path: Endpoint(office, *kind) for path, kind in ENDPOINTS.items()}
        self._calls: dict[bytes, Handler] = {
            prefix + path.encode(): endpoint for path, endpoint in self._endpoints.items() for prefix in (b"", b"/v1")
        }
        self._pages = with_request_id(_pages(office, exposition, content_type, more), office.now)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._pages(scope, receive, send)

    def calls(self, method: bytes, url: bytes) -> Handler | None:
        """Who answers this request as a call; None for everything else."""
        if method != b"POST":
            return None
        return self._calls.get(url) or self._call_at(_path(url))

    def _call_at(self, path: str) -> Handler | None:
        for ending, endpoint in self._endpoints.items():
            if model := _deployment(path, ending):
                return partial(endpoint, path_model=model)
        return self._calls.get(path.encode())


def _deployment(path: str, ending: str) -> str:
    """The model in one of Azure's paths, or nothing."""
    if path.startswith(AZURE_PREFIX) and path.endswith(ending):
        return path[len(AZURE_PREFIX) : -len(ending)]
    return ""


def _path(url: bytes) -> str:
    """The path of a request's target, which may be a whole URL; nothing where it cannot be read."""
    try:
        target = url.decode("ascii")  # with two slashes at its beginning it is still a path, and names no host
        return unquote(urlsplit(target if not target.startswith("/") else f"http://-{target}").path)
    except ValueError:
        return ""


def _pages(office: Office, exposition: Callable[[], bytes], content_type: str, more: Sequence[BaseRoute]) -> Starlette:
    pages = Pages(office, exposition, content_type)
    prefixes = ("", "/v1", AZURE_PREFIX + "{model:path}")
    app = Starlette(
        routes=[
            *(Route(path, pages.models) for path in ("/v1/models", "/models")),
            *(Route(path, pages.model) for path in ("/v1/models/{id:path}", "/models/{id:path}")),
            *(Route(path, pages.live) for path in ("/healthz/live", "/health/liveliness")),
            *(Route(path, pages.ready) for path in ("/healthz/ready", "/health/readiness")),
            Route("/metrics", pages.metrics),
            *more,
            # Calls do not come this way: these are here so that any other method is told which one is meant.
            *(Route(prefix + path, _nothing, methods=["POST"]) for path in ENDPOINTS for prefix in prefixes),
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
        """A configuration is loaded and calls are taken. Raises Overloaded once the server is being stopped."""
        if getattr(request.state, "stopping", False):
            raise shutting_down()
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


def with_request_id(app: ASGIApp, now: Callable[[], float]) -> ASGIApp:
    """Every answer carries a request id."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        id = scope["request_id"] = request_id(told(scope["headers"]), now())

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


_WHERE = f"Calls go to POST {' or '.join(f'/v1{path}' for path in ENDPOINTS)}; GET /v1/models lists the models."


def _as_ours(request: Request, error: HTTPException) -> GatewayError:
    """The framework's own refusals, in our envelope."""
    words = {
        404: f"There is nothing at this path. {_WHERE}",
        405: f"{request.method} is not possible here.",
    }
    return NotServed(error.status_code, words.get(error.status_code, error.detail))
