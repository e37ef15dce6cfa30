"""`gateway secrets rotate`: another key-encryption key, from local ones to AWS KMS and back."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from gateway.admin.rotation import rotate
from gateway.admin.wanted_provider import place
from gateway.config import snapshot as config
from gateway.config.snapshot import Admin
from gateway.core.deed import Actor, Deed, Told
from gateway.core.made_provider import MadeProvider
from gateway.core.secret import Secret
from gateway.store.audit import Audit
from gateway.store.database import Database
from gateway.store.envelope import KeyKeeper, LocalKey, Vault
from gateway.store.providers import Providers
from gateway.store.sealed import NoKey
from gateway.store.vault import vault
from tests.house.aws import without_aws
from tests.house.commands import Done, command
from tests.house.kms import REGION, KeyService, key_service

ONE, TWO = (b64encode(bytes([number]) * 32).decode() for number in (1, 2))
FIELDS = ("api_key", "headers.x-tenant")
NAMES = ("a", "b", "c")
CLI = Actor("cli", "root")


@pytest.fixture(scope="module")
def service() -> Iterator[KeyService]:
    with key_service() as running:
        running.new_key("alias/gateway")
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Providers]:
    """Three providers, whose secrets are sealed under the first key."""
    database = Database(Secret(f"sqlite:///{tmp_path}/gateway.db"))
    database.prepare()
    store, first = Providers(database), Vault(LocalKey(Secret(ONE)))
    for name in NAMES:
        row = MadeProvider(name, 0.0, 0.0, {"type": "openai"})
        sealed = {field: first.seal(Secret(f"sk-{name}-{field}"), place(row, field)) for field in FIELDS}
        store.insert(replace(row, secrets=sealed))
    yield store
    database.close()


def read(store: Providers, keeper: KeyKeeper) -> list[str]:
    """All secrets, as one key alone opens them."""
    alone = Vault(keeper)
    return [alone.open(row.secrets[field], place(row, field)).reveal() for row in store.list() for field in FIELDS]


SECRETS = [f"sk-{name}-{field}" for name in NAMES for field in FIELDS]


def configure(folder: Path, present: str, *previous: str) -> None:
    (folder / "gateway.yaml").write_text(
        f'state: {{database: "sqlite:///{folder}/gateway.db"}}\n'
        f"admin: {{encryption_key: {present}, previous_encryption_keys: [{', '.join(previous)}]}}\n"
        "providers: {here: {type: echo, models: [echo]}}\n"
    )


async def run(folder: Path, *arguments: str) -> Done:
    return await command(folder, "secrets", "rotate", "--config", "gateway.yaml", *arguments)


async def test_every_secret_is_sealed_anew_and_the_old_key_is_needed_no_more(tmp_path: Path, store: Providers) -> None:
    configure(tmp_path, TWO, ONE)
    done = await run(tmp_path)
    assert (done.status, done.err) == (0, "")
    assert done.lines[0] == (
        f"6 secrets were sealed anew under {LocalKey(Secret(TWO)).id()}; 0 secrets were under it before."
    )
    assert "take it out" in done.out
    assert read(store, LocalKey(Secret(TWO))) == SECRETS
    again = (await run(tmp_path, "--json")).json
    assert (again["ok"], again["resealed"], again["current"], again["failed"]) == (True, 0, 6, {})


async def test_without_the_old_key_nothing_is_changed_and_it_is_told(tmp_path: Path, store: Providers) -> None:
    before = store.list()
    configure(tmp_path, TWO)
    done = await run(tmp_path)
    assert (done.status, done.lines[0][:24]) == (1, "0 secrets were sealed an")
    assert "gateway: a: providers/a/api_key is sealed under the key local:" in done.err
    assert "admin.previous_encryption_keys" in done.err
    assert store.list() == before


def test_without_any_key_there_is_nothing_to_seal_with(store: Providers) -> None:
    with pytest.raises(NoKey):
        rotate(store, vault(Admin()), CLI, lambda: 1.0)


def test_from_a_key_of_ones_own_to_kms_and_back(
    store: Providers, service: KeyService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    put = without_aws(monkeypatch, tmp_path)
    put("AWS_ACCESS_KEY_ID", "AKIATEST")
    put("AWS_SECRET_ACCESS_KEY", "secret")
    kms = config.Kms("alias/gateway", REGION, service.url)
    done = rotate(store, vault(Admin(encryption=kms, previous=(Secret(ONE),))), CLI, lambda: 1.0)
    assert (done.resealed, done.key[:12]) == (6, "kms:arn:aws:")
    assert {orjson.loads(row.secrets[field])["kek"] for row in store.list() for field in FIELDS} == {done.key}
    done = rotate(store, vault(Admin(encryption=Secret(TWO), previous=(kms,))), CLI, lambda: 1.0)
    assert done.resealed == 6
    assert read(store, LocalKey(Secret(TWO))) == SECRETS


class Stops(Vault):
    """A vault of a process that is killed after so many secrets."""

    left = 3

    def open(self, *sealed: object) -> Secret:
        if not self.left:
            raise SystemExit
        self.left -= 1
        return super().open(*sealed)  # type: ignore[arg-type]


def test_what_was_stopped_in_the_middle_is_taken_up_again(store: Providers, tmp_path: Path) -> None:
    keys = (LocalKey(Secret(TWO)), [LocalKey(Secret(ONE))])
    with pytest.raises(SystemExit):
        rotate(store, Stops(*keys), CLI, lambda: 1.0)
    half = Vault(*keys)
    assert [half.open(row.secrets["api_key"], place(row, "api_key")).reveal() for row in store.list()] == SECRETS[::2]
    done = rotate(store, half, CLI, lambda: 2.0)
    assert (done.resealed, done.current, done.failed) == (4, 2, {})
    assert read(store, keys[0]) == SECRETS
    database = Database(Secret(f"sqlite:///{tmp_path}/gateway.db"))
    told = Audit(database).newest(Told()).deeds
    database.close()
    assert [(deed.action, deed.subject, deed.time) for deed in told] == [
        *(("secrets.rotate", name, 2.0) for name in ("c", "b")),
        ("secrets.rotate", "a", 1.0),
    ]


def test_a_secret_that_cannot_be_opened_does_not_keep_the_others_from_it(store: Providers) -> None:
    _, row, _ = store.list()
    store.update(replace(row, secrets={**row.secrets, "api_key": "garbage"}))
    done = rotate(store, Vault(LocalKey(Secret(TWO)), [LocalKey(Secret(ONE))]), CLI, lambda: 1.0)
    assert (done.resealed, list(done.failed)) == (4, ["b"])


def test_what_is_changed_in_the_same_moment_is_left_for_the_next_run(store: Providers) -> None:
    class Edited:
        """A store in which somebody changes each provider after it was listed."""

        def list(self) -> list[MadeProvider]:
            found = store.list()
            for row in found:
                store.update(row)
            return found

        def reseal(self, provider: MadeProvider, deed: Deed) -> None:
            store.reseal(provider, deed)

    both = Vault(LocalKey(Secret(TWO)), [LocalKey(Secret(ONE))])
    done = rotate(Edited(), both, CLI, lambda: 1.0)
    assert (done.resealed, set(done.failed.values())) == (0, {"was changed in this moment; run this again"})
