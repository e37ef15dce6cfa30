"""How requests show who pays, and what an account keeps from being quoted."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gateway.config.resolve import loads
from gateway.core.call import Headers, UpstreamRequest
from gateway.core.errors import Failure, UpstreamError
from gateway.upstream.authorize import Authorization, authorization
from gateway.upstream.credentials import AwsChain

NOW = 1_440_938_160.0
REQUEST = UpstreamRequest("POST", "https://a.example/v1/chat", ((b"content-type", b"application/json"),), b"{}")


def of(fields: str) -> Authorization:
    text = f"providers: {{p: {{{fields}}}}}"
    return authorization(loads(text, name="g", environ={}).providers["p"], lambda: NOW)


AZURE = "type: azure, api_key: k, base_url: https://a.example, api_version: '1'"


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ("type: openai, api_key: k", ((b"authorization", b"Bearer k"),)),
        ("type: cohere, api_key: k", ((b"authorization", b"Bearer k"),)),
        ("type: mistral, api_key: k", ((b"authorization", b"Bearer k"),)),
        ("type: bedrock, region: us-east-1, api_key: k", ((b"authorization", b"Bearer k"),)),
        (AZURE, ((b"api-key", b"k"),)),
        ("type: anthropic, api_key: k", ((b"x-api-key", b"k"),)),
        ("type: gemini, api_key: k", ((b"x-goog-api-key", b"k"),)),
        ("type: ollama", ()),
        ("type: echo", ()),
    ],
)
def test_a_key_goes_into_the_header_of_its_vendor(fields: str, headers: Headers) -> None:
    assert of(fields).authorize(REQUEST) == headers


def test_access_keys_sign_each_request() -> None:
    shown = of("type: bedrock, region: eu-central-1, access_key_id: AKIA, secret_access_key: s, session_token: t")
    headers = dict(shown.authorize(REQUEST))
    assert headers[b"x-amz-date"] == b"20150830T123600Z"
    assert headers[b"x-amz-security-token"] == b"t"
    assert headers[b"authorization"].startswith(
        b"AWS4-HMAC-SHA256 Credential=AKIA/20150830/eu-central-1/bedrock/aws4_request, "
        b"SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, Signature="
    )
    assert shown.credentials is None


def test_without_credentials_the_machines_own_are_looked_for() -> None:
    shown = of("type: bedrock, region: eu-central-1")
    assert isinstance(shown.credentials, AwsChain)
    with pytest.raises(UpstreamError) as refused:
        shown.authorize(REQUEST)
    assert refused.value.failure is Failure.CREDENTIALS


def test_every_credential_is_kept_from_being_quoted() -> None:
    keys = "access_key_id: AKIAEXAMPLE, secret_access_key: hidden-key, session_token: hidden-token"
    headers = "headers: {X-Team: a-secret-team, X-Flag: 'true'}"
    assert of(f"type: bedrock, region: eu-central-1, {keys}, {headers}").secrets == (
        *("AKIAEXAMPLE", "hidden-key", "hidden-token"),
        "a-secret-team",
    )
    assert of("type: anthropic, api_key: hidden-key").secrets == ("hidden-key",)
    assert of("type: anthropic, api_key: k").secrets == ()  # too short not to be part of some word
    assert "hidden" not in repr(of("type: anthropic, api_key: hidden"))


LOADED = """
import sys
from gateway.app.upstreams import open_upstreams
from gateway.config.resolve import loads
open_upstreams(loads(sys.argv[1], name="g", environ={}))
print(*sorted({"botocore", "aiobotocore", "aiohttp", "boto3"} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("providers", "loaded"),
    [
        ("e: {type: echo}, o: {type: openai, api_key: k}, a: {type: anthropic, api_key: k}", ""),
        ("b: {type: bedrock, region: us-east-1, enabled: no}", ""),
        ("b: {type: bedrock, region: us-east-1, api_key: k}", ""),
        ("b: {type: bedrock, region: us-east-1, access_key_id: a, secret_access_key: s}", "botocore"),
    ],
)
def test_what_aws_needs_is_loaded_for_aws_alone(providers: str, loaded: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, f"providers: {{{providers}}}"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.strip() == loaded
