"""What people write in the section `admin`: see `gateway.config.spec`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from gateway.config.snapshot import Permission
from gateway.config.values import STRICT, Address, Credential, EncryptionKey, Name, Region, Text

Grant = Literal[Permission, "*", "llm_provider.*", "key.*", "usage.*", "config.*"]
"""A permission, or all that begin alike."""


@dataclass(frozen=True, slots=True)
class AdminTokenSpec:
    """Who may manage the gateway, and what of it."""

    __pydantic_config__ = STRICT

    name: Name
    """How the token is called in the audit log."""
    token: Credential
    """The token itself, best given as "${VARIABLE}" or file:/path: at least 16 characters."""
    permissions: list[Grant]
    """What may be done with it: key.view, key.*, ...; * for everything."""


@dataclass(frozen=True, slots=True)
class KmsSpec:
    """A key of AWS KMS. Credentials come from AWS's default chain."""

    __pydantic_config__ = STRICT

    key_id: Text
    """The id, the ARN or an alias of the key: alias/gateway."""
    region: Region
    """The region of AWS that it is in: us-east-1."""
    endpoint_url: Address | None = None
    """Where KMS is reached, if not at the region's own address: a VPC endpoint."""


@dataclass(frozen=True, slots=True)
class KeyServiceSpec:
    """A service that encrypts, where it is not a key of one's own."""

    __pydantic_config__ = STRICT

    kms: KmsSpec
    """AWS KMS."""


@dataclass(frozen=True, slots=True)
class AdminSpec:
    """Who may manage the gateway over HTTP, and what encrypts the secrets that they leave with it."""

    __pydantic_config__ = STRICT

    tokens: list[AdminTokenSpec] = field(default_factory=list)
    """Without any, the admin API is off."""
    encryption_key: KeyServiceSpec | EncryptionKey | None = None
    """32 bytes in base64 (openssl rand -base64 32), best given as "${VARIABLE}" or file:/path; or kms: {...}."""
    previous_encryption_keys: list[KeyServiceSpec | EncryptionKey] = field(default_factory=list)
    """Keys that were `encryption_key` before, until `gateway secrets rotate` has replaced them."""
