"""The files that an OpenAI request links to: where the links stand, and the request with the files themselves. Pure.

OpenAI's servers fetch such files themselves. Some providers want the bytes, which `gateway.upstream.media` fetches.

https://platform.openai.com/docs/guides/images-vision
https://platform.openai.com/docs/guides/pdf-files
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from gateway.core.call import Json

SCHEMES = ("https:", "http:")
"""What is a link to fetch. Others (`gs:`, `s3:`) are addresses that a provider reads by itself."""

_HOLDERS = {"image_url": "url", "file": "file_data"}
"""By the type of a part: the field that holds a link or a data URL, within the object that is named like the type."""


class Link(NamedTuple):
    url: str
    place: str
    """The part that it stands in, for a message about it: `messages[2].content[1]`."""
    kind: str
    """The type of that part."""


def links(body: Json, left: tuple[str, ...] = ()) -> list[Link]:
    """Every link in the messages of an accepted request, in order. What is linked twice is there twice.

    Addresses that begin as one of those `left` are not among them.
    """
    return [
        Link(url, f"messages[{index}].content[{position}]", part["type"])
        for index, message in enumerate(body["messages"])
        for position, part in _parts(message)
        if (url := _url(part)) and not url.startswith(left)
    ]


def inlined(body: Json, files: Mapping[str, str]) -> Json:
    """The request with a data URL in place of each link, as `files` has them. The one that is given stays as it is."""
    return {**body, "messages": [_message(message, files) for message in body["messages"]]}


def _parts(message: Json) -> Iterator[tuple[int, Json]]:
    content = message.get("content")
    return enumerate(content if isinstance(content, list) else ())


def _message(message: Json, files: Mapping[str, str]) -> Json:
    if not any(_url(part) in files for _, part in _parts(message)):
        return message
    return {**message, "content": [_part(part, files) for _, part in _parts(message)]}


def _part(part: Json, files: Mapping[str, str]) -> Json:
    """A link stands alone as a string, as some clients write images, or in an object with more that must be kept."""
    file = files.get(_url(part))
    if file is None:
        return part
    kind = part["type"]
    held: Any = part[kind]
    return {**part, kind: file if isinstance(held, str) else {**held, _HOLDERS[kind]: file}}


def _url(part: Json) -> str:
    """The link in a part; empty where there is none."""
    field = _HOLDERS.get(part["type"])
    if field is None:
        return ""
    held = part[part["type"]]
    url = held if isinstance(held, str) else held.get(field)
    return url if url and url[:6].lower().startswith(SCHEMES) else ""
