"""Recognises secrets that nobody chose: values left over from an example, or with hardly any variety."""

import re

#: Distinct bytes below which a secret of 32 bytes or more cannot have come from a random source; a shorter one has
#: fewer: a third of its length.
_FEWEST_DISTINCT = 10

_PLACEHOLDER = re.compile(
    r"change[-_ ]?(me|it|this)|replace[-_ ]|placeholder|example|your[-_ ]|default|insecure|password|dummy|sample"
    r"|secret[-_ ]?key|test[-_ ]|[-_ ]test|xxxxx|12345678|abcdefgh|qwerty|encryption[-_ ]?key|jwt[-_ ]",
    re.IGNORECASE,
)

#: Passwords that a database image, a tutorial or an example file brings along.
_KNOWN_PASSWORDS = frozenset({"postgres", "postgresql", "root", "admin", "secret", "maya", "test", "dev", "letmein"})


def reads_like_a_placeholder(value: str) -> bool:
    """Say whether text contains the words that example files put where a secret belongs."""
    return _PLACEHOLDER.search(value) is not None


def lacks_variety(value: bytes) -> bool:
    """Say whether bytes repeat themselves so much that they were typed rather than generated."""
    repeats = len(value) > 1 and (value + value).find(value, 1) < len(value)
    return repeats or len(set(value)) < min(_FEWEST_DISTINCT, max(len(value) // 3, 2))


def is_default_password(value: str) -> bool:
    """Say whether a database password is one that everybody tries first."""
    return value.lower() in _KNOWN_PASSWORDS or reads_like_a_placeholder(value)
