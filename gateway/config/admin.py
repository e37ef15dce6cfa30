"""Who may manage the gateway."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from hashlib import sha256

from gateway.config.admin_spec import AdminSpec, AdminTokenSpec, KeyServiceSpec, KmsSpec
from gateway.config.complaints import Review, Steps, quoted
from gateway.config.famous import FAMOUS, is_famous
from gateway.config.snapshot import PERMISSIONS, Admin, AdminToken, Key, Kms, Permission
from gateway.core.secret import Secret

SHORTEST = 16
"""Characters of a token, wherever it comes from: it opens everything, and nobody has one from of old."""


def resolve_admin(spec: AdminSpec, keys: Mapping[bytes, Key], review: Review) -> Admin:
    """The section `admin`. `keys` are those that clients call with, by their SHA-256."""
    taken: dict[str, int] = {}
    found: dict[bytes, AdminToken] = {}
    for index, written in enumerate(spec.tokens):
        path = ("admin", "tokens", index)
        first = taken.setdefault(written.name, index)
        if written.name and first != index:
            review.complain((*path, "name"), f"{quoted(written.name)} is the name of admin.tokens[{first}] already")
        if not written.permissions and review.read_well((*path, "permissions")) and review.read_well(path):
            review.complain(
                (*path, "permissions"), 'allows nothing; write what it is for, such as [key.view], or ["*"]'
            )
        if digest := _digest(written, path, review):
            if digest in found:
                review.complain(path, f"is the same token as that of {quoted(found[digest].name)}")
            if digest in keys:
                review.complain((*path, "token"), f"is the key {quoted(keys[digest].name)} too, which clients have")
            found[digest] = AdminToken(written.name, digest, frozenset(_permissions(written.permissions)))
    previous = (_encryption(key) for key in spec.previous_encryption_keys)
    return Admin(tuple(found.values()), _encryption(spec.encryption_key), tuple(key for key in previous if key))


def _digest(written: AdminTokenSpec, path: Steps, review: Review) -> bytes | None:
    if not written.token:
        return None
    token = written.token.reveal()
    if is_famous(token):
        review.complain((*path, "token"), FAMOUS)
    elif len(token) < SHORTEST:
        review.complain((*path, "token"), f"is shorter than {SHORTEST} characters; make one: openssl rand -hex 24")
    return sha256(token.encode()).digest()


def _permissions(granted: Iterable[str]) -> set[Permission]:
    return {permission for grant in granted for permission in PERMISSIONS if fnmatchcase(permission, grant)}


def _encryption(written: KeyServiceSpec | Secret | None) -> Secret | Kms | None:
    if not isinstance(written, KeyServiceSpec):
        return written
    kms = written.kms
    if not isinstance(kms, KmsSpec):  # it could not be read
        return None
    return Kms(kms.key_id, kms.region, kms.endpoint_url)
