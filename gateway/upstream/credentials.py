"""AWS credentials that nobody wrote down: of the environment, a profile, a role.

With `gateway.store.kms` the only importer of aiobotocore.

AWS calls the order in which they are looked for the default chain:
https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html. The search, and each renewal, is done in
the background; a call takes what is there. Only while the very first search goes on does it wait.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from gateway.core.errors import Failure, UpstreamError
from gateway.core.secret import Secret
from gateway.wire.sigv4 import AwsKeys

if TYPE_CHECKING:
    from aiobotocore.credentials import AioCredentials
    from aiobotocore.session import AioSession

LOOK_EVERY = 30.0
"""Seconds between two looks at the credentials. botocore renews them by itself when it is asked for them within the
last 15 minutes of their life, so a look costs nothing until then; and what could not be found is looked for again."""

SAID_LIMIT = 400
"""Characters of what botocore said: it quotes whole answers of those it asked."""


class AwsChain:
    """The credentials that this machine has from AWS. Implements `gateway.ports.Credentials`.

    `profile` names a section of the AWS configuration files, else the chain chooses; `region` is where roles are asked
    for. `every` is how often to look, in seconds.
    """

    def __init__(self, *, region: str, profile: str | None = None, every: float = LOOK_EVERY) -> None:
        self._region = region
        self._profile = profile
        self._every = every
        self._keys: AwsKeys | None = None
        self._fault = "the search for AWS credentials has not ended yet"
        self._searched = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to look, in the running loop. Once is enough; `ready` does it too."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._keep_looking())

    async def ready(self, within: float) -> None:
        """Returns once the first search has ended, with or without success, or after so many seconds."""
        if not self._searched.is_set():
            self.start()
            with suppress(TimeoutError):
                async with asyncio.timeout(within):
                    await self._searched.wait()

    def keys(self) -> AwsKeys:
        """The keys as they are now. Raises UpstreamError that says where they were looked for."""
        if self._keys is None:
            raise UpstreamError(Failure.CREDENTIALS, self._fault)
        return self._keys

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be quoted to anyone, as it is now."""
        return self._keys.secrets() if self._keys else ()

    async def aclose(self) -> None:
        """Looks no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _keep_looking(self) -> None:
        found: AioCredentials | None = None
        while True:
            try:
                found = found or await self._search()
                self._keys = await _now(found)
            except Exception as error:  # a custom process, a broken file, a role that was taken away: anything
                # What was found before stays in use: it is good until it expires, and AWS says so then.
                self._fault = _told(error)
            self._searched.set()
            await asyncio.sleep(self._every)

    async def _search(self) -> AioCredentials:
        session = await asyncio.to_thread(_session, self._region, self._profile)
        found = await session.get_credentials()
        if found is None:
            places = ", ".join(place.METHOD for place in session.get_component("credential_provider").providers)
            raise UpstreamError(Failure.CREDENTIALS, f"no AWS credentials were found; looked at {places}")
        return found


def _session(region: str, profile: str | None) -> AioSession:
    """In a thread, because importing takes most of a second, and a running gateway may have just learnt of AWS."""
    from aiobotocore.session import AioSession

    session = AioSession(profile=profile)
    session.set_config_variable("region", region)
    return session


async def _now(found: AioCredentials) -> AwsKeys:
    """The keys, renewed if it is time. Raises whatever the place they come from does."""
    id, secret, token, *_ = await found.get_frozen_credentials()
    if not id or not secret:
        raise ValueError("they are empty")
    return AwsKeys(id, Secret(secret), Secret(token) if token else None)


def _told(error: Exception) -> str:
    if isinstance(error, UpstreamError):
        return error.said
    return f"no AWS credentials: {type(error).__name__}: {' '.join(str(error).split())}"[:SAID_LIMIT]
