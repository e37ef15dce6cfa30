"""How single values are written: durations, sizes, counts, dates, flags, names.

Each reader takes the text of a value and gives what it means, or raises ValueError with the words that follow the value
in a complaint: "is not a duration; ...". The words never repeat the value, which may be a secret. Readers see text, not
what YAML made of it, so `no` is a name where a name is wanted and `4.10` keeps its zero.

A `Form` is such a reader with the JSON schema of what it reads, attached to a type: `Duration` is a float of seconds.
"""

from __future__ import annotations

import binascii
import math
import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

from gateway.config.addresses import base_url, database_url, proxy_url, redis_url
from gateway.core.money import MICROS_PER_DOLLAR, micros
from gateway.core.secret import Secret

Reader = Callable[[str], Any]
"""Text to what it means. Raises ValueError."""

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
BYTES = {"": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
COUNTS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9}

DEAREST = 100_000
"""US dollars per million tokens. A hundred times what the dearest models cost: a bound for slips of the unit."""

RICHEST = 10**9
"""US dollars of a budget."""

MOST_A_MINUTE = 10**9
"""Requests or tokens. Times the milliseconds of a minute it stays far below 2^53, up to where Redis' scripts count."""

LONGEST = 366 * 86400.0
"""Seconds. A year bounds every duration well below what timers of an event loop can hold."""

_QUANTITY = re.compile(r"(\d{1,18}(?:\.\d{1,18})?(?:[eE][+]?\d{1,2})?)\s?([A-Za-z]*)", re.ASCII)
_DIGITS = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d{1,18}(?:\.\d{0,18})?|\.\d{1,18})(?:[eE][+-]?\d{1,3})?", re.ASCII)
_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,9})?)\s?%|(0?\.\d{1,9}|0)", re.ASCII)
_PERCENT = re.compile(r"[1-9]\d{0,2}", re.ASCII)
_VISIBLE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]{2,12}){1,2}-[0-9]{1,2}")
# RFC 9110, 5.6.2: a field name is a token.
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def seconds(text: str) -> float:
    """`300ms`, `5s`, `10m`, `1h`, `7d`."""
    unit, amount = _quantity(text, SECONDS, "a duration; write it with its unit: 300ms, 5s, 10m or 1h")
    if (value := amount * unit) > LONGEST:
        raise ValueError("is longer than a year")
    return value


def wait(text: str) -> float:
    """A duration that is not nothing."""
    if (value := seconds(text)) <= 0:
        raise ValueError("must be longer than nothing")
    return value


def size(text: str) -> int:
    """Bytes: `4096`, `512KiB`, `20MiB`."""
    unit, amount = _quantity(text, BYTES, "a size; write bytes, or a number with its unit: 512KiB, 20MiB")
    return _positive(amount * unit)


def count(text: str) -> int:
    """`500`, `100k`, `10M`, `1e3`."""
    unit, amount = _quantity(text, COUNTS, "a count; write digits, or a number with its unit: 100k, 10M")
    return _positive(amount * unit)


def rate(text: str) -> int:
    """A count for each minute."""
    if (value := count(text)) > MOST_A_MINUTE:
        raise ValueError("is more than 1G a minute; leave it out where there is no limit")
    return value


def whole(low: int, high: int) -> Callable[[str], int]:
    """A whole number in decimal digits, within bounds."""

    def read(text: str) -> int:
        if not _DIGITS.fullmatch(text) or re.match(r"[+-]?0\d", text):
            raise ValueError(f"is not a whole number{_plainly(text)}")
        if not low <= int(text) <= high:
            raise ValueError(f"is not between {low} and {high}")
        return int(text)

    return read


def weight(text: str) -> float:
    """A share, relative to the others: any number above 0."""
    if not _NUMBER.fullmatch(text):
        raise ValueError("is not a number")
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError("must be above 0, and finite")
    return value


def share(most: int) -> Callable[[str], float]:
    """A part of a whole, `20%` or `0.2`, and no more than so many percent. As a number from 0 to 1.

    A bare 1 is refused: it may be meant as one percent, or as all.
    """

    def read(text: str) -> float:
        if not (found := _SHARE.fullmatch(text)):
            hint = f"; write {text}%" if _PERCENT.fullmatch(text) and int(text) <= most else ", such as 20% or 0.2"
            raise ValueError(f"is not a share{hint}")
        value = float(found[1]) / 100 if found[1] else float(found[2])
        if value > most / 100:
            raise ValueError(f"is more than {most}%")
        return value

    return read


def dollars(text: str) -> float:
    """US dollars per million tokens: `0`, `0.15`, `2.50`."""
    if not _NUMBER.fullmatch(text):
        raise ValueError("is not a number of US dollars, such as 0.15")
    if not 0 <= (value := float(text)) <= DEAREST:
        raise ValueError(f"is not between 0 and {DEAREST}: prices are in US dollars per million tokens")
    return value


def money(text: str) -> int:
    """US dollars as micro-dollars: `50`, `0.25`."""
    if not _NUMBER.fullmatch(text):
        raise ValueError("is not a number of US dollars, such as 50 or 0.25")
    if not 0 < (amount := Decimal(text)) <= RICHEST:
        raise ValueError(f"is not above 0 and up to {RICHEST} US dollars")
    if (value := micros(amount)) != amount * MICROS_PER_DOLLAR:
        raise ValueError("has more than six decimals: a millionth of a dollar is the least that is counted")
    return value


def retention(text: str) -> float:
    """A duration of days: `90d`."""
    unit, amount = _quantity(text, SECONDS, "a duration; write it with its unit: 30d, 365d")
    if not 86400 <= (value := amount * unit) <= 10 * LONGEST:
        raise ValueError("is not between a day and ten years")
    return value


def flag(text: str) -> bool:
    """`true` and `false`, and what else people write for them."""
    value = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}.get(text.lower())
    if value is None:
        raise ValueError("is not true or false")
    return value


def moment(text: str) -> float:
    """A date, meaning its first moment in UTC, or an ISO 8601 time. In seconds since 1970."""
    try:
        when = datetime.fromisoformat(text)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError("is not a date; write 2027-01-01 or 2027-01-01T12:00:00Z") from None


def text(text: str) -> str:
    """Visible characters, perhaps with spaces between them."""
    if text != text.strip() or not text.isprintable():
        raise ValueError("begins or ends with a space, or holds a character that cannot be seen")
    return text


def name(text: str) -> str:
    """What may stand in a header and in a label of the metrics: visible ASCII, spaces only inside."""
    if len(text) > 256 or not _VISIBLE.fullmatch(text):
        raise ValueError("is not a name: up to 256 letters, digits and signs of ASCII")
    return text


def word(text: str) -> str:
    """A name of a provider."""
    if len(text) > 64 or not _WORD.fullmatch(text):
        raise ValueError("is not a name: up to 64 letters, digits, dots, dashes and underscores")
    return text


def pattern(text: str) -> str:
    """A name in which one `*` may stand for any text."""
    if text.count("*") > 1:
        raise ValueError("holds more than one *")
    return name(text)


def region(text: str) -> str:
    """A region of AWS."""
    if not _REGION.fullmatch(text):
        raise ValueError("is not a region of AWS, such as us-east-1 or eu-central-1")
    return text


def exact(text: str) -> str:
    """A name without a `*`."""
    if "*" in text:
        raise ValueError("cannot hold a *: only entries of models may be patterns")
    return name(text)


def header_name(text: str) -> str:
    if not _TOKEN.fullmatch(text):
        raise ValueError("is not the name of a header")
    if text.lower() in FRAMING:
        raise ValueError("is a header that the gateway writes itself")
    return text.lower()


FRAMING = frozenset(
    [
        *("accept-encoding", "connection", "content-length", "content-type", "expect", "host", "keep-alive"),
        *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
    ]
)
"""Headers that say how a message is framed and read. Another value there would break the connection, or smuggle."""


def header_value(text: str) -> Secret:
    """A value that a header can carry. Secret, because headers are where credentials go."""
    if not _VISIBLE.fullmatch(text):
        raise ValueError("holds a character that a header cannot carry: a line break, a space at an end, or not ASCII")
    return Secret(text)


def encryption_key(text: str) -> Secret:
    """32 bytes in base64."""
    try:
        size = len(b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        size = 0
    if size != 32:
        raise ValueError("is not 32 bytes in base64; make them: openssl rand -base64 32")
    return Secret(text)


def sha256(text: str) -> bytes:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise ValueError("is not a SHA-256: 64 hexadecimal digits")
    return bytes.fromhex(text)


def _quantity(text: str, units: Mapping[str, float], words: str) -> tuple[float, float]:
    found = _QUANTITY.fullmatch(text)
    if not found:
        raise ValueError(f"is not {words}")
    unit = units.get(found[2])
    if unit is None:
        known = ", ".join(unit for unit in units if unit)
        raise ValueError(f"is not {words}" if not found[2] else f"has an unknown unit; there are {known}")
    return unit, float(found[1])


def _positive(value: float) -> int:
    if not value.is_integer():
        raise ValueError("is not a whole number")
    if not 1 <= value < 2**53:
        raise ValueError("must be at least 1, and below 2^53")
    return int(value)


def _plainly(text: str) -> str:
    """A hint for what YAML 1.1 reads as a number and people may not: octal, hexadecimal, binary, with underscores."""
    if re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}|0[oO][0-7]{1,10}|0[bB][01]{1,32}", text):
        return f"; write {int(text, 0)}"
    if re.fullmatch(r"0[0-9]{1,10}", text):
        return f": it begins with 0, which some take for octal; write {int(text)}"
    if re.fullmatch(r"[0-9]{1,10}(_[0-9]{1,10})+", text):
        return f"; write {text.replace('_', '')}"
    return ""


STRICT = {"extra": "forbid", "arbitrary_types_allowed": True, "use_attribute_docstrings": True}
"""For pydantic, in each record: other fields are refused, and the words under each field describe it."""


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """How a value is written: a reader, and the JSON schema of what it reads."""

    read: Reader
    schema: Mapping[str, Any]
    secret: bool = False
    """Whether the value must never be repeated in a complaint."""

    def __get_pydantic_json_schema__(self, _core: object, _handler: object) -> dict[str, Any]:
        return dict(self.schema)


REFERENCE = r"\$\{.+\}|file:/.+"
"""What may stand for any value: a variable of the environment, or a file."""


def _string(pattern: str | None = None) -> dict[str, Any]:
    return {"type": "string", "pattern": rf"^(?:{pattern}|.*(?:{REFERENCE}).*)$"} if pattern else {"type": "string"}


def _either(kind: dict[str, Any], pattern: str) -> dict[str, Any]:
    return {"anyOf": [kind, _string(pattern)]}


def _between(low: int, high: int) -> Form:
    return Form(whole(low, high), _either({"type": "integer", "minimum": low, "maximum": high}, r"\d+"))


def _share_of(most: int) -> Form:
    number = {"type": "number", "minimum": 0, "maximum": most / 100, "exclusiveMaximum": 1}
    return Form(share(most), _either(number, r"\d{1,3}(\.\d+)?\s?%|0?\.\d+|0"))


Text = Annotated[str, Form(text, _string())]
Word = Annotated[str, Form(word, _string(r"[A-Za-z0-9][A-Za-z0-9._-]*"))]
Name = Annotated[str, Form(exact, _string())]
Pattern = Annotated[str, Form(pattern, _string())]
Region = Annotated[str, Form(region, _string(_REGION.pattern))]
HeaderName = Annotated[str, Form(header_name, _string())]
Address = Annotated[str, Form(base_url, _string(r"https?://\S+"), secret=True)]
Credential = Annotated[Secret, Form(header_value, _string(), secret=True)]
Proxy = Annotated[Secret, Form(proxy_url, _string(r"http://\S+"), secret=True)]
Redis = Annotated[Secret, Form(redis_url, _string(r"rediss?://\S+|unix://\S+"), secret=True)]
Database = Annotated[Secret, Form(database_url, _string(r"sqlite:///.+|postgresql://\S+"), secret=True)]
EncryptionKey = Annotated[Secret, Form(encryption_key, _string("[A-Za-z0-9+/]{43}="), secret=True)]
Digest = Annotated[bytes, Form(sha256, _string("[0-9a-fA-F]{64}"), secret=True)]
Flag = Annotated[bool, Form(flag, _either({"type": "boolean"}, "true|false|yes|no|on|off"))]
Duration = Annotated[float, Form(seconds, _string(r"\d+(\.\d+)?\s?(ms|s|m|h|d)"))]
Wait = Annotated[float, Form(wait, _string(r"\d+(\.\d+)?\s?(ms|s|m|h|d)"))]
Size = Annotated[int, Form(size, _either({"type": "integer", "minimum": 1}, r"\d+(\.\d+)?\s?([kKMG]i?B|B)?"))]
Weight = Annotated[float, Form(weight, _either({"type": "number", "exclusiveMinimum": 0}, r"[\d.eE+-]+"))]
Count = Annotated[int, Form(count, _either({"type": "integer", "minimum": 1}, r"\d+(\.\d+)?[kM]?"))]
Rate = Annotated[int, Form(rate, _either({"type": "integer", "minimum": 1}, r"\d+(\.\d+)?[kM]?"))]
Money = Annotated[int, Form(money, _either({"type": "number", "exclusiveMinimum": 0}, r"\d*(\.\d*)?"))]
Retention = Annotated[float, Form(retention, _string(r"\d+(\.\d+)?\s?(h|d)"))]
Port = Annotated[int, _between(0, 65535)]
Attempts = Annotated[int, _between(1, 10)]
Failures = Annotated[int, _between(1, 1000)]
Share = Annotated[float, _share_of(100)]
SmallShare = Annotated[float, _share_of(50)]
Dollars = Annotated[float, Form(dollars, _either({"type": "number", "minimum": 0, "maximum": DEAREST}, r"\d*(\.\d*)?"))]
Moment = Annotated[float, Form(moment, _string(r"\d{4}-\d\d-\d\d.*"))]
