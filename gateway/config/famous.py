"""Keys and tokens that are no secrets, because manuals print them where one's own belongs."""

from __future__ import annotations

import re

FAMOUS = "is a key that everyone knows from examples; make your own: openssl rand -hex 24"

EXAMPLES = frozenset(
    ["sk-1234", "sk-12345", "sk-123456", "sk-1234567890", "changeme", "change-me", "password", "secret"]
)

_STANDS_FOR_ANOTHER = re.compile(
    r".*\.\.\..*|<.*>|.*x{8}.*|(sk-)?(.)\2*"
    r"|.*(change|replace)[-_ ]?(me|this|it)([^a-z].*)?"
    r"|(sk-)?(your|my|insert|any)[-_ ]([a-z]+[-_ ])*(key|token|secret|password)([-_ ]here)?",
    re.IGNORECASE,
)
"""`sk-...`, `<key>`, `xxxxxxxx`, `change-me-please`, `your-secret-key`: how people write that something goes here."""


def is_famous(text: str) -> bool:
    """Whether anybody would try this first."""
    return text.lower() in EXAMPLES or bool(_STANDS_FOR_ANOTHER.fullmatch(text))
