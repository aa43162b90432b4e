"""What is masked: secrets that were registered, however they are written, and what a known form tells to be one.

Everything that Fairlead prints or keeps passes `redact`. A text is gone through once for each secret and each known
form that may stand in it, so that a long log takes as long as its length says. Digests, revisions and UUIDs look like
many a token and are left alone, unless they were registered or stand behind a name such as `token=`.
"""

import re
import threading
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Final

MASK: Final = "••••••"
_SHORTEST_SECRET: Final = 6
#: A line of a longer secret, a secret within base64, and one that is broken over lines: shorter ones stand by chance.
_SHORTEST_PART: Final = 12
_SHORTEST_ENCODED: Final = 7

#: Where a line was broken: with the blanks and rules that a table or an indented block puts around.
_BREAK: Final = re.compile(r"(?<![ \t│┃|])[ \t│┃|]*+\r?\n[ \t│┃|]*")

# --- Known forms: what stands in a text (in small letters) that may hold one, and the form; its `head` is kept. ---

# Up to the last @, because passwords hold unescaped @ and / in spite of the rules; digits that end there are a port.
_URL: Final = r"""(?P<head>://(?!\[)[^\s:/@?#]*:)(?!\d{1,5}(?:[\s/?#"'<>(),;\]}]|$))(?:(?!://)\S)+(?=@)"""
_BEARER: Final = r"(?i)(?P<head>\b(?:bearer|project-access-token:?)\s+)[\w.~+/=-]{8,}"
_AUTHORIZATION: Final = r"""(?xi)
    (?P<head> \bauthorization \\?["']? [ \t]{0,4} [:=] [ \t]{0,4} \\?["']?
      (?: (?:basic|bearer|token|digest|negotiate|apikey) [ \t]+ | (?=[^\s"']{0,200}[0-9+/=_]) ) )
    [\w.~+/=-]{8,}"""
_COOKIE: Final = r"(?i)(?P<head>\bcookie:[ \t]*[^\s=;]{1,100}=)[^\s;]{8,}"
_BASIC: Final = r"(?i)(?P<head>\bbasic\s+)(?P<told>[a-z0-9+/_-]{8,}={0,2})"
_PRIVATE_KEY: Final = (
    r"(?P<head>)-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,20}-----"
    r"[^-]*+(?:-(?!----)[^-]*+)*+(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,20}-----)?"
)
#: Two parts of JSON, so that nothing else in base64 is taken for one.
_JSON: Final = r"(?P<head>)\beyJ[\w-]{8,}\.eyJ[\w-]{4,}(?:\.[\w-]*)*"
_PROVIDERS: Final = r"""(?x) (?P<head>)(?<![A-Za-z0-9]) (?:
    sk-(?:ant|proj|svcacct)-[\w-]{8,} | sk-[A-Za-z0-9]{20,} | [rs]k_(?:live|test)_[A-Za-z0-9]{8,}
    | whsec_[A-Za-z0-9+/=_-]{8,}
    | gh[opsur]_[A-Za-z0-9]{16,} | github_pat_\w{16,} | glpat-[\w-]{16,}
    | xox[a-z]-[\w-]{8,} | xapp-[\w-]{8,} | (?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])
    | AIza[\w-]{30,} | ya29\.[\w.-]{8,} | GOCSPX-[\w-]{16,} | 1//[\w-]{20,}
    | SG\.[\w-]{12,}\.[\w-]{12,} | SK[0-9a-f]{32}(?![A-Za-z0-9]) | npm_[A-Za-z0-9]{24,} | pypi-AgE[\w-]{16,}
    | dckr_pat_[\w-]{16,} | hf_[A-Za-z]{24,} | AGE-SECRET-KEY-1[A-Z0-9]{16,} )"""
_HOOK: Final = r"(?P<head>hooks\.slack\.com/(?:services|workflows)/)[\w/-]{8,}"
_NAMES: Final = ("password", "passwd", "passphrase", "pwd", "secret", "token", "key")
_KEYS: Final = tuple(
    f"{kind}{between}key"
    for kind in ("api", "access", "secret", "private", "signing", "encryption", "account", "shared", "auth", "approval")
    for between in ("", "_", "-")
)
#: What stands behind a name. In quotes and behind `=` nearly everything is a secret; behind a colon a sentence may
#: follow, so it must look like one. Names of variables, places of findings, digests and what a shell fills in are none.
_VALUE: Final = r"""(?x)
    (?: \\?["'] )?
    (?: [ \t]{0,4} (?: =(?![=>~]) | => | :(?![:=]) ) [ \t]{0,4} (?P<quote> \\?["'] )
      | [ \t]{0,4} = (?![=>~\s]) (?= [^\s"']{0,200}\w )
      | [ \t]{0,4} : [ \t]{1,4} (?= [^\s"']{0,200}[0-9] ) (?= [^\s"']{0,200}[A-Za-z] ) (?= [^\s"'`,;)}\]]{8} )
        (?! https?: | \d{4}-\d\d-\d\d | [\w./-]{1,200}\.\w{1,5}:\d ) )
    (?! [$<{*%(\[&•] | (?:sha\d|md5)[:\d-] | (?:[Nn]one|null|[Tt]rue|[Ff]alse|str|bytes)\b
      | [A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b )
    (?P<value> (?(quote) (?: \\\\\\["'] | (?!(?P=quote)) (?: \\[^\n] | [^\n\\] ) )+ | [^\s"'`,;&)}\]]{3,} ) )"""
#: As SQL writes one.
_LITERAL: Final = r"[ \t]{1,4}[Ee]?'(?P<value>[^'\n]+)"

_SIGNS: Final = (
    *("sk-", "k_live_", "k_test_", "whsec_", "gho_", "ghp_", "ghs_", "ghu_", "ghr_", "github_pat_", "glpat-", "xox"),
    *("xapp-", "akia", "asia", "aiza", "ya29.", "gocspx-", "1//", "sg.", "sk", "npm_", "pypi-", "dckr_pat_", "hf_"),
    "age-secret-key",
)
_FORMS: Final = (
    (("://",), _URL),
    (("bearer", "project-access-token"), _BEARER),
    (("authorization",), _AUTHORIZATION),
    (("cookie:",), _COOKIE),
    (("private key",), _PRIVATE_KEY),
    (("eyj",), _JSON),
    (("hooks.slack.com",), _HOOK),
    (_SIGNS, _PROVIDERS),
)


class Redactor:
    """Masks secrets that were registered, as they are and as they are written in other places, and known forms."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._lock = threading.Lock()
        self._known: tuple[set[str], int, tuple[str, ...], tuple[str, ...]] = (self._secrets, 0, (), ())

    def register(self, secret: str | None) -> None:
        """Mask `secret` wherever it is printed from now on; texts too short to be one are left alone."""
        if secret and len(secret) >= _SHORTEST_SECRET:
            with self._lock:
                self._secrets.add(secret)

    def __call__(self, text: str) -> str:
        written, whole = self._prepare()
        spans = [span for form in written for span in _find_all(form, text)]
        if whole and "\n" in text:
            spans += _find_broken(whole, text)
        text = _mask(text, spans)
        lowered = text.lower()
        for signs, form in _FORMS:
            if any(sign in lowered for sign in signs):
                text = re.sub(form, rf"\g<head>{MASK}", text)
        if "basic" in lowered:
            text = re.sub(_BASIC, _mask_basic, text)
        return _mask(text, _find_named(text)) if any(name in lowered for name in _NAMES) else text

    def _prepare(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return all that is searched for as it stands, and what is searched for across the ends of lines."""
        with self._lock:
            secrets, count, written, whole = self._known
            if secrets is not self._secrets or count != len(self._secrets):
                written = tuple({form for secret in self._secrets for form in write_forms(secret)})
                whole = tuple(
                    {joined for secret in self._secrets if len(joined := _BREAK.sub("", secret)) >= _SHORTEST_PART}
                )
                self._known = (self._secrets, len(self._secrets), written, whole)
            return written, whole


redact = Redactor()


def write_forms(secret: str) -> set[str]:
    """Return how a secret may be written: plain, quoted for a URL, escaped, in base64, and each of its longer lines."""
    import json
    from urllib.parse import quote

    plain = {secret, secret.strip(), *_lines(secret)}
    forms = set(plain)
    for text in plain:
        forms |= {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
        forms |= {repr(text)[1:-1], repr(text.encode("utf-8", "replace"))[2:-1]}
        marked = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        forms |= {marked, marked.replace('"', "&quot;"), marked.replace('"', "&quot;").replace("'", "&#x27;")}
        for safe in ("", "/", "/:@"):
            quoted = quote(text, safe=safe, errors="replace")
            spaced = quoted.replace("%20", "+")
            forms |= {quoted, spaced, *(re.sub("%..", _lower, one) for one in (quoted, spaced))}
        forms |= _in_base64(text)
    return {form for form in forms if len(form) >= _SHORTEST_SECRET}


def _lower(found: "re.Match[str]") -> str:
    return found[0].lower()


def _lines(secret: str) -> Iterator[str]:
    """Yield the lines of a secret that has several: whoever prints by the line prints them by themselves."""
    lines = secret.splitlines()
    if len(lines) > 1:
        yield from (line.strip() for line in lines if len(line.strip()) >= _SHORTEST_PART)


def _in_base64(text: str) -> set[str]:
    """Return what base64 has of a text wherever it stands within what was encoded, as in `user:password`."""
    import base64

    data = text.encode("utf-8", "replace")
    found = {base64.b64encode(data).decode().rstrip("=")}
    for before in range(3):
        # The letters that hold bits of the text alone, whatever comes before and after it.
        first, last = -(-before * 8 // 6), (before + len(data)) * 8 // 6
        found.add(base64.b64encode(bytes(before) + data + b"\0\0").decode()[first:last])
    long = {one for one in found if len(one) >= _SHORTEST_ENCODED}
    return long | {one.replace("+", "-").replace("/", "_") for one in long}


def _find_all(form: str, text: str) -> Iterator[tuple[int, int]]:
    start = text.find(form)
    while start >= 0:
        end = start + len(form)
        yield start, end
        start = text.find(form, end)


def _find_broken(secrets: Iterable[str], text: str) -> Iterator[tuple[int, int]]:
    """Yield where secrets stand that are broken over lines, by a table for one."""
    starts, moved, parts = [0], [0], list[str]()
    length = end = 0
    for found in _BREAK.finditer(text):
        parts.append(text[end : found.start()])
        length += found.start() - end
        end = found.end()
        starts.append(length)
        moved.append(end - length)
    joined = "".join((*parts, text[end:]))
    for secret in secrets:
        for first, last in _find_all(secret, joined):
            here, there = bisect_right(starts, first) - 1, bisect_right(starts, last - 1) - 1
            yield first + moved[here], last + moved[there]


def _find_named(text: str) -> Iterator[tuple[int, int]]:
    """Yield where what stands behind a name such as `token=` lies."""
    lowered = text.lower()
    if len(lowered) != len(text):  # a few letters of other scripts become two
        lowered = "".join(letter.lower() if letter.isascii() else letter for letter in text)
    value, literal = re.compile(_VALUE), re.compile(_LITERAL)
    behind = 0
    for end in sorted({end for name in _NAMES for _, end in _find_all(name, lowered)}):
        if end < behind or not (_is_name(lowered, end) or text.endswith("_KEY", 0, end)):
            continue
        found = value.match(text, end)
        if found is None and lowered.endswith("password", 0, end):
            found = literal.match(text, end)
        if found is not None:
            behind = found.end()
            yield found.span("value")


def _is_name(lowered: str, end: int) -> bool:
    """Tell whether a secret goes by the name that ends there: not by every key, nor by a shell's working folder."""
    begin = max(0, end - 16)
    if lowered.endswith("key", begin, end):
        return lowered.endswith(_KEYS, begin, end)
    return not lowered.endswith("pwd", begin, end) or not lowered.startswith(("=/", "= ", ":"), end)


def _mask(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """Replace what lies in spans; those that overlap become one."""
    parts: list[str] = []
    end = 0
    for start, stop in sorted(spans, key=lambda span: (span[0], -span[1])):
        if start >= end:
            parts += (text[end:start], MASK)
            end = stop
        elif stop > end:
            end = stop
    return "".join((*parts, text[end:])) if parts else text


def _mask_basic(found: "re.Match[str]") -> str:
    """Mask what is `user:password` in base64; the word alone says little."""
    import base64

    told = found["told"].rstrip("=")
    try:
        decoded = base64.b64decode(told + "=" * (-len(told) % 4), altchars=b"-_" if {"-", "_"} & set(told) else None)
    except ValueError:
        return found[0]
    return f"{found['head']}{MASK}" if b":" in decoded else found[0]


def passwords_in(address: str) -> set[str]:
    """Return the password in an address, as it stands there and as what it means; empty where there is none."""
    from urllib.parse import unquote, urlsplit

    try:
        password = urlsplit(address).password or ""
    except ValueError:
        return set()
    return {password, unquote(password)} - {""}
