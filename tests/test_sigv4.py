"""AWS's signature. The measure is botocore's own client, and the vectors that AWS published."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import botocore.session
import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.config import Config
from msgspec.structs import replace

from gateway.config.vendor_table import VENDORS
from gateway.core.call import Headers, UpstreamRequest
from gateway.core.secret import Secret
from gateway.vendors.vendor import urls
from gateway.wire.sigv4 import AwsKeys, signer

KEYS = AwsKeys("AKIDEXAMPLE", Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"))
TEMPORARY = AwsKeys("ASIAEXAMPLE", Secret("another/secret+key"), Secret("a/session//token=="))
ARN = "arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/a1b2-c3_d4.e5~f6"
MODELS = ["anthropic.claude-3-5-sonnet-20241022-v2:0", "us.amazon.nova-lite-v1:0", ARN, "a b+c*d%2F(é)"]


def sent_by_botocore(model: str, keys: AwsKeys, endpoint: str | None = None) -> AWSPreparedRequest:
    """The request that botocore's own client makes of a call to this model. It goes nowhere."""
    client: Any = botocore.session.Session().create_client(
        "bedrock-runtime",
        region_name="eu-central-1",
        endpoint_url=endpoint,
        aws_access_key_id=keys.access_key_id,
        aws_secret_access_key=keys.secret_access_key.reveal(),
        aws_session_token=keys.session_token.reveal() if keys.session_token else None,
        config=Config(signature_version="v4", parameter_validation=False),
    )
    client.meta.events.register("before-send.bedrock-runtime.Converse", _keep)
    with pytest.raises(_Sent) as sent:
        client.converse(modelId=model, messages=[{"role": "user", "content": [{"text": "hé"}]}])
    return sent.value.request


class _Sent(Exception):
    def __init__(self, request: AWSPreparedRequest) -> None:
        self.request = request


def _keep(request: AWSPreparedRequest, **_: Any) -> None:
    raise _Sent(request)


def as_sent(request: AWSPreparedRequest) -> tuple[UpstreamRequest, dict[str, str]]:
    """The same request before it was signed, and all its headers after."""
    told: list[tuple[str, Any]] = list(request.headers.items())
    headers = {name.lower(): value.decode() if isinstance(value, bytes) else value for name, value in told}
    names = re.search("SignedHeaders=([a-z;-]+)", headers["authorization"])
    assert names
    plain = [name for name in names[1].split(";") if name != "host" and not name.startswith("x-amz-")]
    lines = tuple((name.encode(), headers[name].encode()) for name in plain)
    body: Any = request.body
    return UpstreamRequest("POST", request.url, lines, body), headers


@pytest.mark.parametrize("keys", [KEYS, TEMPORARY], ids=["lasting", "temporary"])
@pytest.mark.parametrize("model", MODELS)
def test_a_call_is_addressed_and_signed_as_botocores_own_client_does(model: str, keys: AwsKeys) -> None:
    theirs = sent_by_botocore(model, keys)
    request, headers = as_sent(theirs)
    when = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    address = urls(
        VENDORS["bedrock"], "https://bedrock-runtime.eu-central-1.amazonaws.com", model, None, "eu-central-1"
    )
    assert address["chat"] == theirs.url
    signed = dict(signer("bedrock", "eu-central-1")(request, keys, when))
    assert {name.decode(): value.decode() for name, value in signed.items()} == {
        name: headers[name] for name in headers if name in ("authorization", "x-amz-date", "x-amz-security-token")
    }


def test_an_endpoint_of_ones_own_is_signed_with_its_port_and_its_path() -> None:
    theirs = sent_by_botocore(ARN, KEYS, "http://127.0.0.1:4999/aws")
    request, headers = as_sent(theirs)
    when = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    assert urls(VENDORS["bedrock"], "http://127.0.0.1:4999/aws", ARN, None, "eu-central-1")["chat"] == theirs.url
    assert signature(request, KEYS, when) == headers["authorization"].rpartition("=")[2]


def signature(request: UpstreamRequest, keys: AwsKeys = KEYS, when: float = 1_440_938_160.0) -> str:
    return dict(signer("bedrock", "eu-central-1")(request, keys, when))[b"authorization"].decode().rpartition("=")[2]


# `get-vanilla` and `post-vanilla` of AWS's suite, with its own credentials and time:
# https://github.com/awslabs/aws-c-auth/tree/main/tests/aws-signing-test-suite/v4
@pytest.mark.parametrize(
    ("method", "headers", "expected"),
    [
        ("GET", (), "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", (), "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    ],
)
def test_the_published_vectors_hold(method: str, headers: Headers, expected: str) -> None:
    request = UpstreamRequest(method, "https://example.amazonaws.com/", headers, b"")
    signed = dict(signer("service", "us-east-1")(request, KEYS, 1_440_938_160.0))
    assert signed[b"x-amz-date"] == b"20150830T123600Z"
    assert signed[b"authorization"].decode() == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders=host;x-amz-date, Signature={expected}"
    )


URL = "https://bedrock-runtime.eu-central-1.amazonaws.com/model/m/converse"
PLAIN = UpstreamRequest("POST", URL, ((b"content-type", b"application/json"),), b"{}")


@pytest.mark.parametrize(
    "other",
    [
        replace(PLAIN, body=b"{} "),
        replace(PLAIN, url=f"{URL}-stream"),
        replace(PLAIN, headers=((b"content-type", b"text/plain"),)),
        replace(PLAIN, headers=(*PLAIN.headers, (b"x-team", b"a"))),
        replace(PLAIN, headers=(*PLAIN.headers, *PLAIN.headers)),
    ],
)
def test_whatever_is_sent_is_signed(other: UpstreamRequest) -> None:
    assert signature(other) != signature(PLAIN)


def test_a_signature_is_of_its_moment_its_keys_and_its_region() -> None:
    assert signature(PLAIN, when=1_440_938_161.0) != signature(PLAIN)
    assert signature(PLAIN, TEMPORARY) != signature(PLAIN)
    elsewhere = dict(signer("bedrock", "us-east-1")(PLAIN, KEYS, 1_440_938_160.0))[b"authorization"]
    assert b"/us-east-1/bedrock/" in elsewhere


def test_keys_are_not_printed() -> None:
    assert repr(TEMPORARY) == "AwsKeys(secret_access_key=Secret('***'), session_token=Secret('***'))"
    assert set(TEMPORARY.secrets()) == {"ASIAEXAMPLE", "another/secret+key", "a/session//token=="}
