"""The dashboard: a page that does in a browser what the admin API does over HTTP.

All of it is static. It has no session of its own: the page sends the admin token that its user has typed, and gets what
that token may see. Every address in it is relative, so it works behind a proxy below any path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from gateway.config.vendor_table import VENDORS

PAGE = "index.html"

TYPES = "types.json"
"""The types of providers, for the form that makes one."""

KINDS: Mapping[str, str] = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "json": "application/json",
}
"""By the end of a file's name."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)
"""What the page may load and where it may send: nothing inline, nothing of anybody else's."""

HEADERS: Mapping[str, str] = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    # Asked for each time and mostly not sent: after an update no browser mixes old parts with new ones.
    "cache-control": "no-cache",
}


@dataclass(frozen=True, slots=True)
class File:
    """One file, as it is sent."""

    body: bytes
    headers: Mapping[str, str]


def routes() -> list[BaseRoute]:
    """Everything at /dashboard."""
    return [
        Route("/dashboard", page),
        Route("/dashboard/", to_page),
        Route("/dashboard/{path:path}", part),
    ]


async def page(request: Request) -> Response:
    """`GET /dashboard`."""
    return _sent(request, contents()[PAGE])


async def to_page(request: Request) -> Response:
    """The page is there without a slash: relative addresses in it begin beside it, wherever it is."""
    return RedirectResponse("../dashboard", headers=HEADERS)


async def part(request: Request) -> Response:
    """`GET /dashboard/...`: a script, a style."""
    found = contents().get(request.path_params["path"])
    if found is None:
        raise HTTPException(404)
    return _sent(request, found)


@cache
def contents() -> Mapping[str, File]:
    """All files by path. They are read when the first is asked for, so no start waits for them."""
    found = {path: file.read_bytes() for path, file in _below(files(__name__) / "static")}
    return {path: _file(path, body) for path, body in [*found.items(), (TYPES, _types())]}


def _below(folder: Traversable, at: str = "") -> list[tuple[str, Traversable]]:
    """Those that have a kind. Editors leave others beside them."""
    found = []
    for each in folder.iterdir():
        if each.is_dir():
            found += _below(each, f"{at}{each.name}/")
        elif each.name.rpartition(".")[2] in KINDS:
            found.append((at + each.name, each))
    return found


def _file(path: str, body: bytes) -> File:
    kind = KINDS[path.rpartition(".")[2]]
    return File(body, {**HEADERS, "content-type": kind, "etag": f'"{sha256(body).hexdigest()[:32]}"'})


def _types() -> bytes:
    """What a form has to ask for, by type."""
    return orjson.dumps(
        {
            name: {
                "base_url": vendor.base_url,
                "credential": vendor.credential,
                "key_required": vendor.key_required,
                "needs_region": vendor.needs_region,
                "needs_api_version": vendor.needs_api_version,
            }
            for name, vendor in VENDORS.items()
        }
    )


def _sent(request: Request, file: File) -> Response:
    tags = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if file.headers["etag"] in tags:
        return Response(status_code=304, headers=file.headers)
    return Response(file.body, headers=file.headers)
