"""A whole gateway in front of Bedrock: what arrives there is signed for what it is."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.config.resolve import loads_all
from gateway.core.call import UpstreamRequest
from gateway.core.secret import Secret
from gateway.wire.sigv4 import AwsKeys, signer
from tests.house.aws import without_aws
from tests.house.harness import KEY, QUESTION, gateway
from tests.house.scripted import Peer, Received, scripted, until

ANSWER = (
    b'{"output":{"message":{"role":"assistant","content":[{"text":"hi"}]}},"stopReason":"end_turn",'
    b'"usage":{"inputTokens":1,"outputTokens":1,"totalTokens":2}}'
)
REFUSED = b'{"message":"The security token AKIAEXAMPLE/a-secret-token is no good"}'

KEYS = AwsKeys("AKIAEXAMPLE", Secret("a-secret-key"), Secret("a-secret-token"))
WRITTEN = "access_key_id: AKIAEXAMPLE, secret_access_key: a-secret-key, session_token: a-secret-token"


def config(endpoint: str, credentials: str) -> str:
    return f"""
providers:
  aws: {{type: bedrock, region: eu-central-1, endpoint_url: '{endpoint}', headers: {{X-Team: research}}, {credentials}}}
models:
  m: {{targets: [{{provider: aws, model: "arn:aws:bedrock:eu-central-1:1:inference-profile/us.x-v1:0"}}]}}
keys:
  - {{name: tester, key: {KEY}}}
"""


async def answering(peer: Peer) -> None:
    while True:
        await peer.request()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER)
        await peer.say(head + ANSWER)


async def refusing(peer: Peer) -> None:
    while True:
        await peer.request()
        head = b"HTTP/1.1 403 Forbidden\r\nx-amzn-errortype: UnrecognizedClientException\r\ncontent-length: %d\r\n\r\n"
        await peer.say(head % len(REFUSED) + REFUSED)


def signed_for(received: Received, origin: str) -> bool:
    """Whether the signature is that of the request as it came, for the keys of this test."""
    path = received.line.split(b" ")[1].decode()
    names = received.headers[b"authorization"].partition(b"SignedHeaders=")[2].partition(b",")[0].split(b";")
    plain = tuple((name, received.headers[name]) for name in names if name != b"host" and not name.startswith(b"x-amz"))
    when = datetime.strptime(received.headers[b"x-amz-date"].decode(), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    request = UpstreamRequest("POST", origin + path, plain, received.body)
    expected = dict(signer("bedrock", "eu-central-1")(request, KEYS, when.timestamp()))
    assert received.headers[b"host"] == origin.partition("//")[2].encode()
    assert {b"content-type", b"x-team", b"host"} <= set(names)
    return expected[b"authorization"] == received.headers[b"authorization"]


async def test_a_call_arrives_signed_for_what_it_is() -> None:
    async with scripted(answering) as aws, gateway(config(aws.origin, WRITTEN)) as running:
        answer = await running.client.post("/v1/chat/completions", json=QUESTION)
        assert answer.json()["choices"][0]["message"]["content"] == "hi"
        received = aws.requests[0]
        assert received.line.split(b" ")[1] == (
            b"/model/arn%3Aaws%3Abedrock%3Aeu-central-1%3A1%3Ainference-profile%2Fus.x-v1%3A0/converse"
        )
        assert received.headers[b"x-amz-security-token"] == b"a-secret-token"
        assert signed_for(received, aws.origin)


async def test_a_refusal_quotes_no_credential_to_the_client() -> None:
    async with scripted(refusing) as aws, gateway(config(aws.origin, WRITTEN)) as running:
        answer = await running.client.post("/v1/chat/completions", json=QUESTION)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_auth_error")
    assert b"a-secret" not in answer.content + running.log


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where AWS's files would be, on a machine without any credentials."""
    without_aws(monkeypatch, tmp_path)
    return tmp_path


async def test_the_machines_own_credentials_sign_and_are_kept_to_itself(home: Path) -> None:
    (home / "credentials").write_text(
        "[team]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = a-secret-key\n"
        "aws_session_token = a-secret-token\n"
    )
    async with scripted(answering) as aws, gateway(config(aws.origin, "profile: team")) as running:
        upstream = running.gateway.live.house.upstreams["aws"]
        await until(lambda: upstream.secrets == ("research", *KEYS.secrets()), within=10.0)
        answer = await running.client.post("/v1/chat/completions", json=QUESTION)
        assert answer.status_code == 200
        assert signed_for(aws.requests[0], aws.origin)


async def test_without_credentials_the_log_says_where_they_were_looked_for(home: Path) -> None:
    async with scripted(answering) as aws, gateway(config(aws.origin, "")) as running:
        credentials = running.gateway.live.house.upstreams["aws"].credentials
        assert credentials is not None
        await credentials.ready(10.0)
        answer = await running.client.post("/v1/chat/completions", json=QUESTION)
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_auth_error")
        assert aws.requests == []
    assert b"no AWS credentials were found; looked at env, " in running.log


async def test_a_new_configuration_looks_for_its_own_credentials(home: Path) -> None:
    (home / "credentials").write_text("[team]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = later\n")
    async with scripted(answering) as aws, gateway(config(aws.origin, WRITTEN)) as running:
        new = loads_all(config(aws.origin, "profile: team"), name="g", environ={})
        await running.gateway.swap(new)
        upstream = running.gateway.live.house.upstreams["aws"]
        await until(lambda: "later" in upstream.secrets, within=10.0)
        assert (await running.client.post("/v1/chat/completions", json=QUESTION)).status_code == 200
