"""
Whether a request is signed as AWS wants it, Signature Version 4:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.

There is no clock here, so no signature is ever too old.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote

from gateway.simulator.http import Request

ALGORITHM = "AWS4-HMAC-SHA256"

_AUTHORIZATION = re.compile(
    rf"{ALGORITHM} Credential=([^/,\s]+)/(\d{{8}})/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request,"
    r"\s*SignedHeaders=([a-z0-9;-]+),\s*Signature=([0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True)
class Signed:
    """What an `Authorization` header says."""

    access_key: str
    date: str
    region: str
    service: str
    headers: tuple[str, ...]
    signature: str


def read(request: Request) -> Signed | None:
    """The header's parts, or None where it is not well-formed or not the request's own."""
    found = _AUTHORIZATION.fullmatch(request.header(b"authorization"))
    if found is None:
        return None
    access_key, date, region, service, headers, signature = found.groups()
    signed = Signed(access_key, date, region, service, tuple(headers.split(";")), signature)
    dated = re.fullmatch(r"\d{8}T\d{6}Z", request.header(b"x-amz-date")) is not None
    return signed if dated and request.header(b"x-amz-date").startswith(date) and "host" in signed.headers else None


def verifies(request: Request, signed: Signed, secret: str) -> bool:
    """Whether the signature was made with this secret access key, over this very request."""
    scope = f"{signed.date}/{signed.region}/{signed.service}/aws4_request"
    hashed = hashlib.sha256(_canonical(request, signed).encode()).hexdigest()
    text = "\n".join((ALGORITHM, request.header(b"x-amz-date"), scope, hashed))
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.compare_digest(hmac.new(key, text.encode(), "sha256").hexdigest(), signed.signature)


def _canonical(request: Request, signed: Signed) -> str:
    path, _, query = request.path.partition("?")
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in parse_qsl(query, True))
    headers = "".join(f"{name}:{' '.join(request.header(name.encode()).split())}\n" for name in signed.headers)
    return "\n".join(
        (
            request.method,
            # Every service but S3 wants the path encoded once more than it is sent.
            quote(path, safe="/-_.~"),
            "&".join(f"{name}={value}" for name, value in pairs),
            headers,
            ";".join(signed.headers),
            hashlib.sha256(request.body).hexdigest(),
        )
    )
