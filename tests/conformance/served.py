"""What an SDK is given to read: a recording, as if a server had just sent it."""

from __future__ import annotations

import httpx

from tests.conformance.test_recordings_openai import Recording


class Served(httpx.BaseTransport):
    """Answers every request with one recording."""

    recording: Recording

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        kind = "text/event-stream" if self.recording.streamed else "application/json"
        return httpx.Response(200, content=self.recording.body, headers={"content-type": kind})
