"""
What is said of secrets at rest without opening one: where each belongs, and why one may stay shut. No cryptography, so
that whoever only names these need not import it.

Locked
* NoKey        nothing is configured to seal with
* UnknownKey   it was sealed under a key that is not configured
* Tampered     it was changed, or belongs elsewhere
* KeyRefused   whoever keeps the key will not have us use it: a person has to mend that
* KeyAway      whoever keeps the key cannot be asked: the same may succeed later
"""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """Where a secret belongs. Sealed for one place, it cannot be opened in another."""

    table: str
    row: str
    field: str
    bound: tuple[str, ...] = ()
    """What else of the row the secret is tied to, such as the address that it is sent to."""

    def __str__(self) -> str:
        return f"{self.table}/{self.row}/{self.field}"


class Locked(Exception):
    """A secret cannot be sealed or opened. The message says what to do, and holds no secret."""


class NoKey(Locked):
    """There is no key-encryption key."""

    def __init__(self) -> None:
        super().__init__(
            "Secrets are only kept encrypted, and there is no key for it: write admin.encryption_key into the "
            "configuration (`openssl rand -base64 32` makes one), or name one of AWS KMS."
        )


class UnknownKey(Locked):
    """None of the keys at hand is the one."""

    def __init__(self, place: Place, kek: str) -> None:
        super().__init__(
            f"{place} is sealed under the key {kek}, which is not configured: add that key to "
            "admin.previous_encryption_keys, or set the secret again."
        )


class Tampered(Locked):
    """What is there was not sealed for this place with this key."""

    def __init__(self, place: Place) -> None:
        super().__init__(
            f"{place} was changed in the database, or moved there from elsewhere: set the secret again, "
            "and look who can write to the database."
        )


class KeyRefused(Locked):
    """Not as things are configured."""


class KeyAway(Locked):
    """Not now."""
