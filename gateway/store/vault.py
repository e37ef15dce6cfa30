"""The vault that a configuration asks for."""

from __future__ import annotations

from gateway.config.snapshot import Admin, Kms
from gateway.core.secret import Secret
from gateway.store import kms
from gateway.store.envelope import KeyKeeper, LocalKey, Vault


def vault(admin: Admin) -> Vault:
    """Seals with the key of `admin.encryption_key`; opens with that and those before it. Asks nobody yet."""
    return Vault(_keeper(admin.encryption) if admin.encryption else None, [_keeper(each) for each in admin.previous])


def _keeper(encryption: Secret | Kms) -> KeyKeeper:
    if isinstance(encryption, Kms):
        return kms.Kms(encryption.key_id, encryption.region, encryption.endpoint_url)
    return LocalKey(encryption)
