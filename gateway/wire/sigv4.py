"""AWS's signature, version 4: credentials, region and time are arguments.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html. The arithmetic is botocore's, taken step by step,
because its one call for all of it reads the clock. botocore is imported with the first signer: it takes a quarter of a
second, which a gateway without AWS need not spend.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlsplit

from gateway.core.call import Headers, UpstreamRequest
from gateway.core.secret import Secret


@dataclass(frozen=True, slots=True)
class AwsKeys:
    """Who signs."""

    access_key_id: str = field(repr=False)
    secret_access_key: Secret
    session_token: Secret | None = None
    """Comes with temporary credentials, and goes out with each request."""

    def secrets(self) -> tuple[str, ...]:
        """What nobody else may read. The id tells which account it is."""
        hidden = (self.secret_access_key, self.session_token)
        return (self.access_key_id, *(secret.reveal() for secret in hidden if secret))


Sign = Callable[[UpstreamRequest, AwsKeys, float], Headers]
"""The headers that sign a request with these keys, at a time in seconds since 1970."""


def signer(service: str, region: str) -> Sign:
    """Signs for one service in one region."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import ReadOnlyCredentials

    def sign(request: UpstreamRequest, keys: AwsKeys, now: float) -> Headers:
        token = keys.session_token.reveal() if keys.session_token else None
        auth = SigV4Auth(
            ReadOnlyCredentials(keys.access_key_id, keys.secret_access_key.reveal(), token), service, region
        )
        added = _dated(token, now)
        signed = AWSRequest(method=request.method, url=request.url, data=request.body)
        signed.context["timestamp"] = added[0][1].decode()
        for name, value in (*request.headers, *added, _host(request)):
            signed.headers[name.decode()] = value.decode("latin-1")
        text = auth.string_to_sign(signed, auth.canonical_request(signed))
        names = auth.signed_headers(auth.headers_to_sign(signed))
        signature = auth.signature(text, signed)
        claim = f"AWS4-HMAC-SHA256 Credential={auth.scope(signed)}, SignedHeaders={names}, Signature={signature}"
        return (*added, (b"authorization", claim.encode()))

    return sign


def _dated(token: str | None, now: float) -> Headers:
    date = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ").encode()
    return ((b"x-amz-date", date), *(((b"x-amz-security-token", token.encode()),) if token else ()))


def _host(request: UpstreamRequest) -> tuple[bytes, bytes]:
    """The host as the transport spells it: what is signed must be what arrives."""
    return b"host", urlsplit(request.url).netloc.encode()
