"""Server-sent events: bytes in, frames out. No IO.

Lines end at LF, CRLF or CR and nowhere else: U+2028, which models write into JSON strings, ends none. A frame keeps the
bytes it was read from, so that it can be handed on as it came.

https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations

import re

from msgspec import Struct

from gateway.core.errors import Failure, UpstreamError

EVENT_LIMIT = 8 * 2**20
"""Bytes of one event. The largest real ones carry an image in base64; beyond that, one never ends its line."""

_BLANK_LINE = re.compile(rb"(?>\r\n|\r|\n)(?>\r\n|\r|\n)")
"""Atomic groups, or else CRLF would also be read as two line ends."""
_LINE_END = re.compile(rb"\r\n|\r|\n")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Frame(Struct, frozen=True):
    """What stood between two blank lines."""

    raw: bytes
    """Its exact bytes, the blank line included where there was one."""
    data: bytes | None
    """The `data` lines, joined by LF; None for a frame that has none."""
    event: bytes = b""
    plain: bool = True
    """Whether there is nothing in it but `data` lines and comments."""


class Frames:
    """Reads frames out of bytes that come in pieces of any size."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that these bytes complete. Raises UpstreamError for one of more than EVENT_LIMIT bytes."""
        if not self._pending and (frames := _plainly_spelt(data)):
            return frames
        return [frame for block in self._cut(data) if (frame := _frame(block))]

    @property
    def at_rest(self) -> bool:
        """Whether nothing has come of the next frame."""
        return not self._pending

    def end(self) -> list[Frame]:
        """The connection has ended. What is left is a frame: some servers leave out the last blank line."""
        rest = bytes(self._pending)
        self._pending.clear()
        return [frame] if (frame := _frame(rest)) else []

    def _cut(self, data: bytes) -> list[bytes]:
        """The whole blocks of what has come so far. A blank line is looked for once, in what is new."""
        pending, blocks, start = self._pending, [], 0
        unseen = max(0, len(pending) - 3)  # its first half, at most CR LF CR, may be there already
        pending += data
        for blank in _BLANK_LINE.finditer(pending, unseen):
            blocks.append(bytes(pending[start : blank.end()]))
            start = blank.end()
        del pending[:start]
        _check_size(len(pending))
        return blocks


def _plainly_spelt(data: bytes) -> list[Frame]:
    """The frames of whole events that have one line of data each, and perhaps a name before it, as nearly all do.

    Nothing for any other data.
    """
    if not data.endswith(b"\n\n") or b"\r" in data or len(data) > EVENT_LIMIT:
        return []
    frames: list[Frame] = []
    for block in data[:-2].split(b"\n\n"):
        event, plain, line = b"", True, block
        if block.startswith(b"event: "):
            event, _, line = block[7:].partition(b"\n")
            plain = False
        if not line.startswith(b"data: ") or b"\n" in line:
            return []
        frames.append(Frame(block + b"\n\n", line[6:], event, plain))
    return frames


def _frame(block: bytes) -> Frame | None:
    """What one block says; None where there is not even a comment."""
    _check_size(len(block))
    marked = block.startswith(_BYTE_ORDER_MARK)
    lines = [line for line in _LINE_END.split(block.removeprefix(_BYTE_ORDER_MARK)) if line]
    fields = [_field(line) for line in lines if not line.startswith(b":")]
    data = [value for name, value in fields if name == b"data"]
    event = next((value for name, value in reversed(fields) if name == b"event"), b"")
    plain = len(data) == len(fields) and not marked
    return Frame(block, b"\n".join(data) if data else None, event, plain) if lines else None


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name, value.removeprefix(b" ")


def _check_size(size: int) -> None:
    if size > EVENT_LIMIT:
        raise UpstreamError(Failure.MALFORMED, f"an event of more than {EVENT_LIMIT} bytes")
