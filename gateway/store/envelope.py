"""
Secrets at rest, each in an envelope of its own: https://docs.aws.amazon.com/kms/latest/developerguide/kms-cryptography.html

1. A fresh data key of 256 bits is made for each secret.
2. The secret is encrypted with it: AES-256-GCM with a nonce of 96 bits (NIST SP 800-38D), bound to its place.
3. The data key is wrapped by a key-encryption key that is never in the database: a local one, or one in AWS KMS.
4. What is kept is the wrapped data key and the encrypted secret. The data key itself is forgotten.

No IO in here but what a key keeper does. Python cannot wipe memory: a data key lives for one call of a function.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from os import urandom
from typing import NamedTuple, Protocol

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.core.secret import Secret
from gateway.store.sealed import NoKey, Place, Tampered, UnknownKey

VERSION = 1
"""Of what an envelope looks like."""

KEY_BYTES = 32
NONCE_BYTES = 12
"""What GCM is made for. Chance never repeats one: each data key is used once."""


class DataKey(NamedTuple):
    """A key that has just been made."""

    key: Secret
    """In base64."""
    kek: str
    """The id of the key that it is wrapped by."""
    wrapped: bytes


class KeyKeeper(Protocol):
    """Whoever has a key-encryption key. Methods may block, and raise Locked."""

    def id(self) -> str:
        """Of the key that new data keys are wrapped by."""

    def opens(self, kek: str) -> bool:
        """Whether data keys that the key of this id has wrapped can be had here."""

    def new(self, place: Place) -> DataKey:
        """A fresh data key for a secret in this place."""

    def unwrap(self, kek: str, wrapped: bytes, place: Place) -> Secret:
        """A data key that was made for this place, in base64. Raises Tampered for any other."""


class LocalKey:
    """A key-encryption key that the configuration holds: 32 bytes in base64. Raises ValueError for anything else."""

    def __init__(self, written: Secret) -> None:
        try:
            key = b64decode(written.reveal(), validate=True)
        except (NotBase64, ValueError):
            key = b""
        if len(key) != KEY_BYTES:
            raise ValueError("is not a key: 32 bytes in base64, as `openssl rand -base64 32` makes them")
        self._cipher = AESGCM(key)
        # Of 256 bits of chance nothing can be told from their hash.
        self._id = "local:" + sha256(b"gateway key-encryption key\0" + key).hexdigest()[:16]

    def id(self) -> str:
        return self._id

    def opens(self, kek: str) -> bool:
        return kek == self._id

    def new(self, place: Place) -> DataKey:
        key, nonce = AESGCM.generate_key(KEY_BYTES * 8), urandom(NONCE_BYTES)
        wrapped = self._cipher.encrypt(nonce, key, _associated("data key", self._id, place))
        return DataKey(Secret(_text(key)), self._id, nonce + wrapped)

    def unwrap(self, kek: str, wrapped: bytes, place: Place) -> Secret:
        nonce, encrypted = wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:]
        return Secret(_text(_decrypted(self._cipher, nonce, encrypted, _associated("data key", kek, place), place)))


@dataclass(frozen=True, slots=True)
class _Envelope:
    """The bytes are in base64."""

    v: int
    kek: str
    wrapped: str
    nonce: str
    ciphertext: str

    def spelt(self) -> str:
        return orjson.dumps(asdict(self)).decode()


class Vault:
    """Seals with the present key; opens what that or a previous one has sealed. For any number of threads."""

    def __init__(self, present: KeyKeeper | None = None, previous: Sequence[KeyKeeper] = ()) -> None:
        self._present = present
        self._keepers = (*((present,) if present else ()), *previous)

    def seal(self, secret: Secret, place: Place) -> str:
        """An envelope, as JSON. Two of one secret have nothing in common. Raises Locked."""
        if self._present is None:
            raise NoKey
        made, nonce = self._present.new(place), urandom(NONCE_BYTES)
        encrypted = AESGCM(b64decode(made.key.reveal())).encrypt(
            nonce, secret.reveal().encode(), _associated("secret", made.kek, place)
        )
        return _Envelope(VERSION, made.kek, _text(made.wrapped), _text(nonce), _text(encrypted)).spelt()

    def open(self, sealed: str, place: Place) -> Secret:
        """What was sealed for this place. Raises Locked."""
        envelope = _read(sealed, place)
        keeper = next((each for each in self._keepers if each.opens(envelope.kek)), None)
        if keeper is None:
            raise UnknownKey(place, envelope.kek)
        key = keeper.unwrap(envelope.kek, b64decode(envelope.wrapped), place)
        nonce, encrypted = b64decode(envelope.nonce), b64decode(envelope.ciphertext)
        cipher = AESGCM(b64decode(key.reveal()))
        return Secret(_decrypted(cipher, nonce, encrypted, _associated("secret", envelope.kek, place), place).decode())

    def check(self, sealed: str, place: Place) -> None:
        """Raises Locked for what cannot be opened whatever is in it. Asks nobody, so it is quick."""
        envelope = _read(sealed, place)
        if not any(each.opens(envelope.kek) for each in self._keepers):
            raise UnknownKey(place, envelope.kek)

    def key(self) -> str:
        """The id of the present key. May ask a key service. Raises Locked."""
        if self._present is None:
            raise NoKey
        return self._present.id()

    def is_under(self, key: str, sealed: str, place: Place) -> bool:
        """Whether it is sealed under the key of this id. Raises Tampered."""
        return _read(sealed, place).kek == key


def _associated(what: str, kek: str, place: Place) -> bytes:
    """What an encryption is bound to. A list in JSON: no two ways to cut it up give the same bytes."""
    return orjson.dumps([what, VERSION, kek, place.table, place.row, place.field, *place.bound])


def _decrypted(cipher: AESGCM, nonce: bytes, encrypted: bytes, associated: bytes, place: Place) -> bytes:
    try:
        return cipher.decrypt(nonce, encrypted, associated)
    except (InvalidTag, ValueError):  # the latter for a nonce that is too short
        raise Tampered(place) from None


def _read(sealed: str, place: Place) -> _Envelope:
    """An envelope has one spelling: base64 leaves bits unused that could be changed unseen."""
    try:
        envelope = _Envelope(**orjson.loads(sealed))
        parts = [b64decode(part, validate=True) for part in (envelope.wrapped, envelope.nonce, envelope.ciphertext)]
        same = _Envelope(VERSION, str(envelope.kek), *map(_text, parts)).spelt()
    except (TypeError, ValueError):
        raise Tampered(place) from None
    if same != sealed:
        raise Tampered(place)
    return envelope


def _text(raw: bytes) -> str:
    return b64encode(raw).decode()
