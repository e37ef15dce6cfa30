"""Who may manage the gateway, as it is written, and what comes of it."""

from __future__ import annotations

from hashlib import sha256

import pytest

from gateway.config.read import ConfigError
from gateway.config.resolve import loads
from gateway.config.snapshot import PERMISSIONS, Admin, Kms
from gateway.core.secret import Secret
from tests.mistakes import KEY, doc

TOKEN = "a-token-of-an-admin-1"
ENVIRON = {"ROOT": TOKEN, "EMPTY": ""}
BYTES = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def admin(text: str) -> Admin:
    return loads(doc(rest=text), name="g", environ=ENVIRON).admin


def complaints(text: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        admin(text)
    return [str(complaint).removeprefix("g:") for complaint in refused.value.complaints]


def token(fields: str, *others: str) -> str:
    return "admin:\n  tokens:\n" + "".join(f"    - {{{each}}}\n" for each in (fields, *others))


def test_a_token_is_kept_as_its_hash_and_printed_nowhere() -> None:
    found = admin(token('name: root, token: "${ROOT}", permissions: ["*"]'))
    (root,) = found.tokens
    assert (root.name, root.digest) == ("root", sha256(TOKEN.encode()).digest())
    assert TOKEN not in repr(found)
    assert repr(root.digest) not in repr(found)


def test_permissions_are_given_one_by_one_or_all_that_begin_alike() -> None:
    root, ops = admin(
        token(
            f'name: root, token: {TOKEN}, permissions: ["*"]',
            f"name: ops, token: {TOKEN}2, permissions: [key.*, usage.view]",
        )
    ).tokens
    assert root.permissions == set(PERMISSIONS)
    assert ops.permissions == {"key.view", "key.create", "key.edit", "key.delete", "usage.view"}


def test_without_the_section_nobody_may_manage() -> None:
    assert admin("") == Admin()
    assert admin('admin: {tokens: [], encryption_key: "${EMPTY}"}') == Admin()


def test_secrets_are_encrypted_with_a_key_of_ones_own_or_one_of_aws() -> None:
    own = admin(f"admin: {{encryption_key: {BYTES}}}")
    assert own.encryption == Secret(BYTES)
    assert BYTES not in repr(own)
    kms = "admin: {encryption_key: {kms: {key_id: alias/gateway, region: eu-central-1, endpoint_url: http://kms:80}}}"
    before = admin(f"admin: {{previous_encryption_keys: [{BYTES}, {{kms: {{key_id: k, region: us-east-1}}}}]}}")
    assert before.previous == (Secret(BYTES), Kms("k", "us-east-1"))
    assert admin(kms).encryption == Kms("alias/gateway", "eu-central-1", "http://kms:80")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            token(
                f"name: ops, token: {TOKEN}, permissions: [key.view]", f"name: ops, token: {KEY}, permissions: ['*']"
            ),
            ["8:14: admin.tokens[1].name: `ops` is the name of admin.tokens[0] already"],
        ),
        (
            token(f"name: a, token: {TOKEN}, permissions: ['*']", f"name: b, token: {TOKEN}, permissions: [key.*]"),
            ["8:7: admin.tokens[1]: is the same token as that of `a`"],
        ),
        (
            token("name: ops, token: sesame, permissions: ['*']"),
            ["7:26: admin.tokens[0].token: is shorter than 16 characters; make one: openssl rand -hex 24"],
        ),
        (
            token(f"name: ops, token: {KEY}, permissions: ['*']") + f"keys: [{{name: web, key: {KEY}}}]\n",
            ["7:26: admin.tokens[0].token: is the key `web` too, which clients have"],
        ),
        (
            token(f"name: ops, token: {TOKEN}, permissions: []"),
            [
                '7:49: admin.tokens[0].permissions: allows nothing; write what it is for, such as [key.view], or ["*"]',
            ],
        ),
        (
            token('name: ops, token: "${EMPTY}", permissions: ["*"]'),
            ["7:26: admin.tokens[0].token: is empty: the environment variable EMPTY is empty"],
        ),
        (
            token("name: ops"),
            [
                "7:7: admin.tokens[0]: `permissions` is missing",
                "7:7: admin.tokens[0]: `token` is missing",
            ],
        ),
        (
            "admin: {encryption_key: {kms: {region: eu-central-1}}}",
            ["5:26: admin.encryption_key.kms: `key_id` is missing"],
        ),
        (
            "admin: {encryption_key: {kms: alias/gateway}}",
            ["5:31: admin.encryption_key.kms: must be a mapping, such as {name: value}"],
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, expected: list[str]) -> None:
    assert complaints(text) == expected
