"""
A key-encryption key in AWS KMS, which never leaves it: https://docs.aws.amazon.com/kms/latest/APIReference/Welcome.html

GenerateDataKey gives a data key in both forms, Decrypt the plain one of a wrapped one; the role needs these two
permissions on this one key. Where the secret belongs goes along as encryption context, which KMS binds the data key to
and CloudTrail logs: who decrypted what, and when, can be seen there.

Asked a few times a day, so each question has a connection of its own, in a loop of its own. Methods block, and must not
be called where a loop runs already.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from threading import Lock
from typing import TYPE_CHECKING, Any

from gateway.core.secret import Secret
from gateway.store.envelope import DataKey
from gateway.store.sealed import KeyAway, KeyRefused, Locked, Place, Tampered

if TYPE_CHECKING:
    from aiobotocore.session import AioSession

PREFIX = "kms:"
"""Of ids; the key's ARN follows."""

WITHIN = 5.0
"""Seconds for a connection, and for an answer. KMS answers in milliseconds."""

ATTEMPTS = 3
"""botocore's own default is five, with an older way to wait: https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html"""

NO_CREDENTIALS = "AWS KMS was not asked, because no AWS credentials were found: give the gateway a role, or a profile."

MENDED: dict[str, str] = {
    "AccessDeniedException": "allow this role kms:GenerateDataKey and kms:Decrypt on the key, in IAM and in its policy",
    "NotFoundException": "there is no such key in this region: check key_id and region",
    "DisabledException": "the key is disabled: enable it",
    "KMSInvalidStateException": "the key is disabled, or is to be deleted: enable it, or cancel its deletion",
    "InvalidKeyUsageException": "a symmetric key for encryption is needed: name another key",
    "UnrecognizedClientException": "AWS does not know these credentials: check them",
    "InvalidSignatureException": "AWS does not take these credentials: check them, and the clock",
    "ExpiredTokenException": "the credentials have expired: renew them",
}
"""What to do, by the code of an error that no waiting mends.

https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html
"""

NOT_OURS = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})
"""A wrapped key that was changed, or that another context was given for."""


class Kms:
    """One key in KMS. Implements `gateway.store.envelope.KeyKeeper`.

    `key_id` is an ARN, an id or an alias; credentials come from AWS's default chain.
    """

    def __init__(self, key_id: str, region: str, endpoint_url: str | None = None) -> None:
        self._key_id = key_id
        self._region = region
        self._endpoint_url = endpoint_url
        self._session: AioSession | None = None
        self._opening = Lock()
        self._arn: str | None = None

    def id(self) -> str:
        """Asks KMS, the first time: an alias leads where it leads today."""
        if self._arn is None:
            self._arn = self._generated(Place("", "", ""))["KeyId"]
        return PREFIX + self._arn

    def opens(self, kek: str) -> bool:
        """Any key of this region may be tried. Which of them may be used is IAM's to say.

        ARNs: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awskeymanagementservice.html
        """
        return kek.startswith(f"{PREFIX}arn:") and kek.split(":")[4:5] == [self._region]

    def new(self, place: Place) -> DataKey:
        made = self._generated(place)
        self._arn = made["KeyId"]
        return DataKey(_base64(made["Plaintext"]), f"{PREFIX}{made['KeyId']}", made["CiphertextBlob"])

    def unwrap(self, kek: str, wrapped: bytes, place: Place) -> Secret:
        arn = kek.removeprefix(PREFIX)
        opened = self._ask("decrypt", place, KeyId=arn, CiphertextBlob=wrapped, EncryptionContext=_context(place))
        return _base64(opened["Plaintext"])

    def _generated(self, place: Place) -> dict[str, Any]:
        return self._ask(
            "generate_data_key", place, KeyId=self._key_id, KeySpec="AES_256", EncryptionContext=_context(place)
        )

    def _ask(self, operation: str, place: Place, **parameters: Any) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

        try:
            return asyncio.run(self._asked(operation, parameters))
        except ClientError as error:
            said = error.response["Error"]
            raise _told(said.get("Code", ""), said.get("Message", ""), operation, place, self._key_id) from None
        except NoCredentialsError:
            raise KeyRefused(NO_CREDENTIALS) from None
        except (BotoCoreError, OSError) as error:
            raise KeyAway(f"AWS KMS cannot be asked now: {error}") from None

    async def _asked(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        from aiobotocore.config import AioConfig

        settings = AioConfig(
            connect_timeout=WITHIN,
            read_timeout=WITHIN,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        )
        opened = self._opened().create_client(
            "kms", region_name=self._region, endpoint_url=self._endpoint_url, config=settings
        )
        async with opened as client:
            answer: dict[str, Any] = await getattr(client, operation)(**parameters)
        return answer

    def _opened(self) -> AioSession:
        """The session is kept: it knows the credentials, and has read what KMS can be asked."""
        from aiobotocore.session import AioSession

        with self._opening:
            self._session = self._session or AioSession()
            return self._session


def _context(place: Place) -> dict[str, str]:
    """Logged in the clear. What else a secret is bound to is no business of CloudTrail's: the encryption has it."""
    return {"table": place.table, "row": place.row, "field": place.field}


def _told(code: str, message: str, operation: str, place: Place, key_id: str) -> Locked:
    if code in NOT_OURS:
        return Tampered(place)
    said = f"AWS KMS refused {operation} with {key_id} ({code})"
    return KeyRefused(f"{said}: {MENDED[code]}.") if code in MENDED else KeyAway(f"{said}: {message}")


def _base64(key: bytes) -> Secret:
    return Secret(b64encode(key).decode())
