"""Says which passwords a person made up for an example or a test: no machine made them, and nothing opens with them.

It is asked about passwords only, in an address or given to a name. A token of a known shape is never made up.
"""

import re
from typing import Final

# What detect-secrets hands over of a GitHub token, and of a private key, is no more than its beginning.
_NO_BEGINNING: Final = r"(?!gh[pousr]$|BEGIN )"
_WORD: Final = r"([A-Z]?[a-z]{1,14}|[A-Z]{1,14})"
_TELLING: Final = (
    *(
        "canary",
        "change-?me",
        "correct-horse",
        "example",
        "hunter2",
        "hush-hush",
        "p(@|%40)ss",
        "pass(word|%20|%40|-of)",
    ),
    *("pass%%40word", "placeholder", "replace-me", "s[3e]cr[3e]t", "wrong"),
)

#: Expressions, in the language that detect-secrets' settings and Python share, one of which such a password matches:
#: a letter over and over, a word that says so, an expression or a template, few characters, words and nothing else.
PATTERNS: Final = (
    r"(.)\1{9}|0123456789abcdef",
    rf"(?i){'|'.join(_TELLING)}",
    r"(?i)^[a-z_.]+[\[({]|^[<{$%*]",
    rf"^{_NO_BEGINNING}.{{0,7}}$",
    rf"^{_NO_BEGINNING}{_WORD}([-_ /.,:]+{_WORD})*[-_ /.,:]*$",
)


def is_made_up(password: str) -> bool:
    """Return whether a password is one that a person made up."""
    return any(re.search(pattern, password) for pattern in PATTERNS)
