"""Lists of models as providers really sent them: read whole, and only what was listed."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.dialects.listings import listing, read_page

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"
DIALECTS = {"anthropic": "anthropic", "gemini": "gemini"}
"""Of the providers whose lists are not like OpenAI's."""

pytestmark = [
    pytest.mark.recordings,
    pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the shared recordings are not there"),
]


def recorded() -> Iterator[tuple[str, dict[str, Any]]]:
    """Provider and exchange, for every list."""
    for file in sorted(RECORDINGS.glob("*.models.jsonl.gz")):
        with gzip.open(file) as lines:
            for line in lines:
                exchange = orjson.loads(line)
                path = exchange["request"]["url"].partition("?")[0]
                if path.endswith("/models") and exchange["response"]["status"] == 200:
                    yield file.name.partition(".")[0], exchange


def test_every_recorded_list_is_read() -> None:
    counted = {}
    for provider, exchange in recorded():
        body = exchange["response"]["body_text"].encode()
        content = orjson.loads(body)
        entries = content["models" if provider == "gemini" else "data"]
        names = [entry.get("id") or entry["name"].removeprefix("models/") for entry in entries]
        found = read_page(listing(DIALECTS.get(provider, "openai_chat")), body)
        assert set(found.models) <= set(names), exchange["name"]
        assert bool(found.more) == bool(content.get("has_more") or content.get("nextPageToken")), exchange["name"]
        counted[exchange["name"]] = (len(names), len(found.models))
    left_out = {name: (all_of_them, read) for name, (all_of_them, read) in counted.items() if all_of_them != read}
    assert len(counted) >= 12
    assert set(left_out) == {name for name in counted if name.startswith(("gemini", "mistral"))}


def test_mistrals_list_keeps_what_chats_and_what_embeds() -> None:
    (content,) = (exchange["response"]["body_text"] for provider, exchange in recorded() if provider == "mistral")
    found = read_page(listing("openai_chat"), content.encode()).models
    assert {"mistral-medium-latest", "codestral-latest", "mistral-embed"} <= set(found)
    assert not [name for name in found if "ocr" in name or "moderation" in name or "tts" in name]
