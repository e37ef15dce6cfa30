"""Secrets under a key of AWS KMS, which a server of moto's plays; and what KMS refuses, played by a script."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from gateway.core.secret import Secret
from gateway.store.envelope import DataKey, Vault
from gateway.store.kms import Kms
from gateway.store.sealed import KeyAway, KeyRefused, Place, Tampered, UnknownKey
from tests.house.aws import Set, without_aws
from tests.house.kms import REGION, KeyService, key_service
from tests.house.scripted import Peer, Script, scripted

HERE = Place("providers", "openai", "api_key", ("openai", "https://api.openai.com/v1"))
SECRET = Secret("sk-a-secret-of-the-test-suite")
ALIAS = "alias/gateway"


@pytest.fixture(scope="module")
def service() -> Iterator[KeyService]:
    with key_service() as running:
        yield running


@pytest.fixture(scope="module")
def arn(service: KeyService) -> str:
    return service.new_key(ALIAS)


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Set:
    put = without_aws(monkeypatch, tmp_path)
    put("AWS_ACCESS_KEY_ID", "AKIATEST")
    put("AWS_SECRET_ACCESS_KEY", "secret")
    return put


@pytest.fixture
def kms(service: KeyService, arn: str) -> Kms:
    return Kms(ALIAS, REGION, service.url)


class Watched:
    """KMS, and the data keys that came from there."""

    def __init__(self, kms: Kms) -> None:
        self._kms = kms
        self.id, self.opens, self.unwrap = kms.id, kms.opens, kms.unwrap
        self.made: list[DataKey] = []

    def new(self, place: Place) -> DataKey:
        self.made.append(self._kms.new(place))
        return self.made[-1]


def test_a_secret_under_kms_is_opened_as_it_was_and_its_data_key_is_nowhere_in_the_clear(kms: Kms, arn: str) -> None:
    watched = Watched(kms)
    vault = Vault(watched)
    sealed = vault.seal(SECRET, HERE)
    assert vault.open(sealed, HERE) == SECRET
    assert orjson.loads(sealed)["kek"] == f"kms:{arn}" == vault.key()
    assert SECRET.reveal() not in sealed
    assert watched.made[0].key.reveal() not in sealed


def test_the_data_key_is_bound_to_its_place_by_kms_itself(kms: Kms) -> None:
    made = kms.new(HERE)
    assert kms.unwrap(made.kek, made.wrapped, HERE) == made.key
    with pytest.raises(Tampered):
        kms.unwrap(made.kek, made.wrapped, HERE._replace(row="other"))


def test_a_secret_that_was_moved_cannot_be_opened_where_only_the_encryption_knows(kms: Kms) -> None:
    sealed = Vault(kms).seal(SECRET, HERE)
    with pytest.raises(Tampered):
        Vault(kms).open(sealed, HERE._replace(bound=("openai", "https://evil.example/v1")))


def test_a_wrapped_key_that_was_changed_is_not_opened(kms: Kms) -> None:
    made = kms.new(HERE)
    with pytest.raises(Tampered):
        kms.unwrap(made.kek, made.wrapped[:-1] + bytes([made.wrapped[-1] ^ 1]), HERE)


def test_what_an_alias_led_to_yesterday_is_still_opened(service: KeyService) -> None:
    first = service.new_key("alias/moving")
    kms = Kms("alias/moving", REGION, service.url)
    sealed = Vault(kms).seal(SECRET, HERE)
    second = service.client.create_key()["KeyMetadata"]["Arn"]
    service.client.update_alias(AliasName="alias/moving", TargetKeyId=second)
    vault = Vault(Kms("alias/moving", REGION, service.url))
    assert vault.open(sealed, HERE) == SECRET
    assert (vault.is_under(f"kms:{first}", sealed, HERE), vault.key()) == (True, f"kms:{second}")


def test_a_key_of_another_region_is_not_asked_for_here(kms: Kms, service: KeyService) -> None:
    sealed = Vault(kms).seal(SECRET, HERE)
    with pytest.raises(UnknownKey, match=REGION):
        Vault(Kms(ALIAS, "us-east-1", service.url)).open(sealed, HERE)


def test_a_key_that_does_not_exist_is_told_with_what_to_do(service: KeyService) -> None:
    with pytest.raises(KeyRefused, match=r"alias/none .*check key_id and region"):
        Kms("alias/none", REGION, service.url).new(HERE)


def test_that_there_are_no_credentials_is_told(service: KeyService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(KeyRefused, match="no AWS credentials were found"):
        Kms(ALIAS, REGION, service.url).new(HERE)


def test_kms_that_is_not_there_may_be_there_later() -> None:
    with pytest.raises(KeyAway, match="cannot be asked now"):
        Kms(ALIAS, REGION, "http://127.0.0.1:1").new(HERE)


def refusing(code: str) -> Script:
    """KMS, with one answer to everything: https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html."""
    body = orjson.dumps({"__type": code, "message": "because"})

    async def script(peer: Peer) -> None:
        while True:
            received = await peer.request()
            await peer.reader.readexactly(int(received.headers.get(b"Content-Length", b"0")))
            head = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: %d\r\n\r\n"
            await peer.say(head % len(body) + body)

    return script


REFUSALS = [
    ("AccessDeniedException", KeyRefused, r"allow this role kms:GenerateDataKey and kms:Decrypt"),
    ("DisabledException", KeyRefused, "enable it"),
    ("KMSInvalidStateException", KeyRefused, "cancel its deletion"),
    ("UnrecognizedClientException", KeyRefused, "does not know these credentials"),
    ("InvalidCiphertextException", Tampered, "set the secret again"),
    ("KMSInternalException", KeyAway, "because"),
]


@pytest.mark.parametrize(("code", "kind", "words"), REFUSALS, ids=[code for code, *_ in REFUSALS])
async def test_what_kms_refuses_is_told_with_what_to_do(code: str, kind: type[Exception], words: str) -> None:
    async with scripted(refusing(code)) as upstream:
        kms = Kms(ALIAS, REGION, upstream.origin)
        with pytest.raises(kind, match=words):
            await asyncio.to_thread(kms.unwrap, "kms:arn:aws:kms:eu-central-1:1:key/1", b"wrapped", HERE)
