"""Secrets at rest: the four steps of envelope encryption, and what cannot be opened."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.secret import Secret
from gateway.store.envelope import DataKey, LocalKey, Vault
from gateway.store.sealed import Locked, NoKey, Place, Tampered, UnknownKey

KEY, OTHER = (Secret(b64encode(bytes([number]) * 32).decode()) for number in (7, 8))
HERE = Place("providers", "openai", "api_key", ("openai", "https://api.openai.com/v1"))
SECRET = Secret("sk-a-secret-of-the-test-suite")

VAULT = Vault(LocalKey(KEY))


def parts(sealed: str) -> dict[str, bytes]:
    envelope = orjson.loads(sealed)
    return {name: b64decode(envelope[name]) for name in ("wrapped", "nonce", "ciphertext")}


class Watched:
    """A key keeper that remembers the data keys it gave out."""

    def __init__(self) -> None:
        self._keeper = LocalKey(KEY)
        self.id, self.opens, self.unwrap = self._keeper.id, self._keeper.opens, self._keeper.unwrap
        self.made: list[DataKey] = []

    def new(self, place: Place) -> DataKey:
        self.made.append(self._keeper.new(place))
        return self.made[-1]


def test_step_1_each_secret_has_a_fresh_data_key_of_256_bits() -> None:
    watched = Watched()
    vault = Vault(watched)
    for _ in range(20):
        vault.seal(SECRET, HERE)
    keys = {b64decode(each.key.reveal()) for each in watched.made}
    assert (len(keys), {len(key) for key in keys}) == (20, {32})


def test_step_2_the_secret_is_encrypted_with_the_data_key_by_aes_256_gcm() -> None:
    watched = Watched()
    sealed = Vault(watched).seal(SECRET, HERE)
    found, kek = parts(sealed), watched.id()
    key = b64decode(watched.made[0].key.reveal())
    associated = orjson.dumps(["secret", 1, kek, *HERE[:3], *HERE.bound])
    assert len(found["nonce"]) == 12
    assert AESGCM(key).decrypt(found["nonce"], found["ciphertext"], associated).decode() == SECRET.reveal()


def test_step_3_the_data_key_is_encrypted_with_the_key_encryption_key() -> None:
    watched = Watched()
    sealed = Vault(watched).seal(SECRET, HERE)
    wrapped, key = parts(sealed)["wrapped"], b64decode(watched.made[0].key.reveal())
    associated = orjson.dumps(["data key", 1, watched.id(), *HERE[:3], *HERE.bound])
    assert AESGCM(b64decode(KEY.reveal())).decrypt(wrapped[:12], wrapped[12:], associated) == key


def test_step_4_what_is_kept_is_the_encrypted_secret_and_the_encrypted_key_and_nothing_in_the_clear() -> None:
    watched = Watched()
    sealed = Vault(watched).seal(SECRET, HERE)
    assert list(orjson.loads(sealed)) == ["v", "kek", "wrapped", "nonce", "ciphertext"]
    everything = sealed.encode() + b"".join(parts(sealed).values())
    for hidden in (SECRET, KEY, watched.made[0].key):
        assert hidden.reveal().encode() not in everything
        assert hidden.reveal() not in repr(watched.made)
    assert b64decode(KEY.reveal()) not in everything


@given(st.text(), st.text(), st.text())
def test_what_was_sealed_is_opened_as_it_was(text: str, row: str, field: str) -> None:
    place = Place("providers", row, field)
    assert VAULT.open(VAULT.seal(Secret(text), place), place) == Secret(text)


SEALED = VAULT.seal(SECRET, HERE)


def test_any_changed_bit_keeps_it_shut() -> None:
    for at in range(len(SEALED)):
        for bit in range(8):
            changed = bytearray(SEALED.encode())
            changed[at] ^= 1 << bit
            with pytest.raises(Locked):
                VAULT.open(changed.decode("latin-1"), HERE)


@given(st.binary(), st.integers(0, len(SEALED)), st.integers(0, len(SEALED)))
def test_any_other_bytes_in_it_keep_it_shut(other: bytes, start: int, end: int) -> None:
    changed = SEALED[:start] + other.decode("latin-1") + SEALED[end:]
    if changed != SEALED:
        with pytest.raises(Locked):
            VAULT.open(changed, HERE)


@given(
    st.recursive(st.none() | st.integers(-9, 9) | st.text(), lambda inner: st.lists(inner)).map(orjson.dumps)
    | st.binary()
)
def test_what_is_no_envelope_is_told_as_such(garbage: bytes) -> None:
    with pytest.raises(Tampered):
        VAULT.open(garbage.decode("latin-1"), HERE)


@pytest.mark.parametrize("name", ["wrapped", "nonce", "ciphertext"])
@pytest.mark.parametrize("value", ["", "AAAA", 5, None, ["x"]])
def test_a_part_that_is_something_else_keeps_it_shut(name: str, value: Any) -> None:
    with pytest.raises(Tampered):
        VAULT.open(orjson.dumps({**orjson.loads(SEALED), name: value}).decode(), HERE)


ELSEWHERE = [
    HERE._replace(table="keys"),
    HERE._replace(row="openai-2"),
    HERE._replace(field="project"),
    HERE._replace(bound=("openai", "https://evil.example/v1")),
    Place("providers", "openai", "api_key"),
]


@pytest.mark.parametrize("place", ELSEWHERE, ids=str)
def test_a_secret_that_was_moved_to_another_place_cannot_be_opened_there(place: Place) -> None:
    with pytest.raises(Tampered, match="set the secret again"):
        VAULT.open(SEALED, place)


def test_two_rows_that_were_swapped_cannot_be_opened() -> None:
    there = HERE._replace(row="openai-2")
    one, two = VAULT.seal(SECRET, HERE), VAULT.seal(Secret("sk-2"), there)
    for sealed, place in ((two, HERE), (one, there)):
        with pytest.raises(Tampered):
            VAULT.open(sealed, place)


@pytest.mark.parametrize("name", ["wrapped", "nonce", "ciphertext"])
def test_parts_of_two_envelopes_do_not_go_together(name: str) -> None:
    one, two = (orjson.loads(VAULT.seal(SECRET, HERE)) for _ in range(2))
    with pytest.raises(Tampered):
        VAULT.open(orjson.dumps({**one, name: two[name]}).decode(), HERE)


def test_two_encryptions_of_one_secret_have_nothing_in_common() -> None:
    one, two = (parts(VAULT.seal(SECRET, HERE)) for _ in range(2))
    assert all(one[name] != two[name] for name in one)


def test_another_key_is_told_by_its_id_with_what_to_do() -> None:
    with pytest.raises(UnknownKey, match=rf"{LocalKey(KEY).id()}.*admin\.previous_encryption_keys"):
        Vault(LocalKey(OTHER)).open(SEALED, HERE)


def test_a_key_that_only_pretends_to_be_the_one_opens_nothing() -> None:
    envelope = orjson.loads(Vault(LocalKey(OTHER)).seal(SECRET, HERE))
    with pytest.raises(Tampered):
        VAULT.open(orjson.dumps({**envelope, "kek": LocalKey(KEY).id()}).decode(), HERE)


def test_a_previous_key_opens_and_never_seals() -> None:
    both = Vault(LocalKey(OTHER), [LocalKey(KEY)])
    assert both.open(SEALED, HERE) == SECRET
    again = both.seal(SECRET, HERE)
    assert both.is_under(LocalKey(OTHER).id(), again, HERE)
    assert not both.is_under(both.key(), SEALED, HERE)


def test_without_a_key_nothing_is_sealed() -> None:
    with pytest.raises(NoKey, match=r"admin\.encryption_key"):
        Vault().seal(SECRET, HERE)
    with pytest.raises(UnknownKey):
        Vault().open(SEALED, HERE)


@pytest.mark.parametrize(
    "written", ["", "short", b64encode(bytes(16)).decode(), b64encode(bytes(33)).decode(), "é" * 44]
)
def test_a_key_of_another_length_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="32 bytes in base64"):
        LocalKey(Secret(written))


def test_the_id_of_a_key_tells_nothing_of_it_and_is_always_the_same() -> None:
    assert LocalKey(KEY).id() == LocalKey(KEY).id() != LocalKey(OTHER).id()
    assert KEY.reveal()[:8] not in LocalKey(KEY).id()
