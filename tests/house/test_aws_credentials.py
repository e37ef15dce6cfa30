"""AWS credentials from each place of the default chain. Whoever would give them answers on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from urllib.parse import parse_qs

import orjson
import pytest

from gateway.core.errors import Failure, UpstreamError
from gateway.upstream.credentials import AwsChain
from tests.house.aws import Set, without_aws
from tests.house.scripted import Peer, Script, scripted, until

LONG = timedelta(hours=6)
SHORT = timedelta(minutes=5)
"""Within the last quarter of an hour of their life credentials are renewed."""


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Set:
    return without_aws(monkeypatch, tmp_path)


@asynccontextmanager
async def chain(profile: str | None = None, every: float = 30.0) -> AsyncIterator[AwsChain]:
    """The chain, once it has looked everywhere."""
    looking = AwsChain(region="eu-central-1", profile=profile, every=every)
    looking.start()
    try:
        await looking.ready(10.0)
        yield looking
    finally:
        await looking.aclose()


def issued(name: str, lasting: timedelta) -> dict[str, str]:
    """Temporary credentials as AWS's services give them out."""
    expires = (datetime.now(UTC) + lasting).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "Code": "Success",
        "AccessKeyId": f"ASIA{name}",
        "SecretAccessKey": f"secret-{name}",
        "Token": f"token-{name}",
        "Expiration": expires,
    }


def of(name: str) -> tuple[str, ...]:
    return (f"ASIA{name}", f"secret-{name}", f"token-{name}")


def serving(answer: Callable[[bytes, bytes], bytes | None]) -> Script:
    """A server that answers each request with what its first line and its body call for; None: it has no such thing."""

    async def script(peer: Peer) -> None:
        while True:
            received = await peer.request()
            body = await peer.reader.readexactly(int(received.headers.get(b"Content-Length", b"0")))
            told = answer(received.line, body)
            status = b"404 Not Found" if told is None else b"200 OK"
            told = told or b""
            await peer.say(b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n%b" % (status, len(told), told))

    return script


def instance(issue: Callable[[], dict[str, str]]) -> Script:
    """The metadata service of an EC2 instance, second version."""

    def answer(line: bytes, _: bytes) -> bytes | None:
        match line.split(b" "):
            case b"PUT", b"/latest/api/token", _:
                return b"session"
            case b"GET", b"/latest/meta-data/iam/security-credentials/", _:
                return b"a-role"
            case b"GET", b"/latest/meta-data/iam/security-credentials/a-role", _:
                return orjson.dumps(issue())
        return None

    return serving(answer)


def agent_of(issue: Callable[[], dict[str, str]]) -> Script:
    """The agent of a container."""
    return serving(lambda line, body: orjson.dumps(issue()))


async def test_the_environment_comes_first(environ: Set) -> None:
    environ("AWS_ACCESS_KEY_ID", "ASIAenv")
    environ("AWS_SECRET_ACCESS_KEY", "secret-env")
    environ("AWS_SESSION_TOKEN", "token-env")
    async with chain() as found:
        assert found.keys().secrets() == found.secrets == of("env")


async def test_a_profile_is_read_from_its_file(environ: Set, tmp_path: Path) -> None:
    lines = "[default]\naws_access_key_id = AKIAone\naws_secret_access_key = one\n"
    lines += "[other]\naws_access_key_id = AKIAtwo\naws_secret_access_key = two\n"
    (tmp_path / "credentials").write_text(lines)
    async with chain() as found:
        assert found.secrets == ("AKIAone", "one")
    environ("AWS_PROFILE", "other")
    async with chain() as found:
        assert found.secrets == ("AKIAtwo", "two")


async def test_a_profile_that_is_named_wins_over_the_environment(environ: Set, tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text("[mine]\naws_access_key_id = AKIAmine\naws_secret_access_key = mine\n")
    environ("AWS_ACCESS_KEY_ID", "AKIAenv")
    environ("AWS_SECRET_ACCESS_KEY", "secret-env")
    async with chain("mine") as found:
        assert found.secrets == ("AKIAmine", "mine")


def role(action: str, name: str) -> bytes:
    """How the token service answers."""
    keys = issued(name, LONG)
    return (
        f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result><Credentials>'
        f"<AccessKeyId>{keys['AccessKeyId']}</AccessKeyId><SecretAccessKey>{keys['SecretAccessKey']}</SecretAccessKey>"
        f"<SessionToken>{keys['Token']}</SessionToken><Expiration>{keys['Expiration']}</Expiration>"
        f"</Credentials></{action}Result></{action}Response>"
    ).encode()


async def test_a_token_of_kubernetes_is_exchanged_for_a_role(environ: Set, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-web-token")
    asked: list[dict[str, list[str]]] = []

    def answer(line: bytes, body: bytes) -> bytes:
        asked.append(parse_qs(body.decode()))
        return role("AssumeRoleWithWebIdentity", "web")

    async with scripted(serving(answer)) as sts:
        environ("AWS_ENDPOINT_URL_STS", sts.origin)
        environ("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
        environ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/gateway")
        async with chain() as found:
            assert found.keys().secrets() == of("web")
    assert asked[0]["WebIdentityToken"] == ["a-web-token"]
    assert asked[0]["RoleArn"] == ["arn:aws:iam::123456789012:role/gateway"]


async def test_a_profile_may_name_a_role_which_is_asked_for_in_the_providers_region(
    environ: Set, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text(
        "[profile team]\nrole_arn = arn:aws:iam::123456789012:role/team\nsource_profile = base\n"
    )
    (tmp_path / "credentials").write_text("[base]\naws_access_key_id = AKIAbase\naws_secret_access_key = base\n")
    async with scripted(serving(lambda line, body: role("AssumeRole", "team"))) as sts:
        environ("AWS_ENDPOINT_URL_STS", sts.origin)
        async with chain("team") as found:
            assert found.keys().secrets() == of("team")
        assert b"Credential=AKIAbase/" in sts.requests[0].headers[b"Authorization"]
        assert b"/eu-central-1/sts/" in sts.requests[0].headers[b"Authorization"]


async def test_a_container_asks_its_agent(environ: Set) -> None:
    async with scripted(agent_of(lambda: issued("task", LONG))) as agent:
        environ("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{agent.origin}/v2/credentials")
        environ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "pod-token")
        async with chain() as found:
            assert found.keys().secrets() == of("task")
        assert agent.requests[0].headers[b"Authorization"] == b"pod-token"


async def test_an_instance_asks_its_metadata_service(environ: Set) -> None:
    async with scripted(instance(lambda: issued("ec2", LONG))) as metadata:
        environ("AWS_EC2_METADATA_DISABLED", "false")
        environ("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.origin)
        async with chain() as found:
            assert found.keys().secrets() == of("ec2")


async def test_credentials_are_renewed_before_they_expire_and_no_call_waits_for_it(environ: Set) -> None:
    numbers = count(1)
    async with scripted(agent_of(lambda: issued(str(next(numbers)), SHORT))) as agent:
        environ("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{agent.origin}/v2/credentials")
        async with chain(every=0.01) as found:
            first = found.keys()
            await until(lambda: found.keys() != first)


async def test_credentials_that_last_are_not_asked_for_again(environ: Set) -> None:
    async with scripted(agent_of(lambda: issued("task", LONG))) as agent:
        environ("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{agent.origin}/v2/credentials")
        async with chain(every=0.001):
            await asyncio.sleep(0.05)
        assert len(agent.requests) == 1


async def test_what_was_found_stays_in_use_when_it_cannot_be_renewed(environ: Set) -> None:
    left = [issued("first", SHORT)] * 2  # the second is that of a renewal at once
    async with scripted(agent_of(lambda: left.pop() if left else {})) as agent:
        environ("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{agent.origin}/v2/credentials")
        async with chain(every=0.01) as found:
            await until(lambda: len(agent.requests) > 4)
            assert found.keys().secrets() == of("first")


async def test_without_any_a_call_is_told_where_they_were_looked_for() -> None:
    async with chain() as found:
        with pytest.raises(UpstreamError) as refused:
            found.keys()
    assert refused.value.failure is Failure.CREDENTIALS
    assert "gateway's credentials" in refused.value.message
    assert refused.value.noted.startswith("no AWS credentials were found; looked at env, assume-role, ")
    assert refused.value.noted.endswith("container-role, iam-role")
    assert found.secrets == ()


async def test_what_comes_later_is_found_later(tmp_path: Path) -> None:
    async with chain(every=0.01) as found:
        with pytest.raises(UpstreamError):
            found.keys()
        (tmp_path / "credentials").write_text("[default]\naws_access_key_id = AKIA\naws_secret_access_key = late\n")
        await until(lambda: bool(found.secrets), within=10.0)
        assert found.keys().secrets() == ("AKIA", "late")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("", "no AWS credentials: ProfileNotFound: The config profile (mine) could not be found"),
        (
            "[mine]\naws_access_key_id = AKIA\n",
            (
                "no AWS credentials: PartialCredentialsError: Partial credentials found in shared-credentials-file, "
                "missing: aws_secret_access_key"
            ),
        ),
    ],
)
async def test_a_mistake_in_the_files_is_told(lines: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text(lines)
    async with chain("mine") as found:
        with pytest.raises(UpstreamError) as refused:
            found.keys()
    assert refused.value.noted == said


async def test_a_service_that_makes_no_sense_is_told(environ: Set) -> None:
    async with scripted(agent_of(dict)) as agent:
        environ("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{agent.origin}/v2/credentials")
        async with chain() as found:
            with pytest.raises(UpstreamError, match="no AWS credentials: KeyError"):
                found.keys()


async def test_nobody_waits_longer_than_he_is_willing_to(environ: Set) -> None:
    silence: Callable[[Peer], Awaitable[None]] = Peer.gone
    async with scripted(silence) as agent:
        environ("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{agent.origin}/v2/credentials")
        looking = AwsChain(region="eu-central-1")
        await looking.ready(0.01)
        with pytest.raises(UpstreamError, match="the search for AWS credentials has not ended yet"):
            looking.keys()
        await looking.aclose()


async def test_a_chain_that_never_began_is_closed_too() -> None:
    await AwsChain(region="eu-central-1").aclose()
