"""What never goes into a release, whatever a pattern says: by its name, and by what is inside.

The allow-list decides what is bundled; this is for the pattern that is greedier than its author thought.
"""

import fnmatch
import functools
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Final

from fairlead._output import passwords_in

#: Left behind by tools and of no use to anybody: passed over in silence. All names are in lower case.
_LEFTOVERS: Final = (
    "__pycache__",
    "*.py[co]",
    ".*_cache",
    ".benchmarks",
    ".ds_store",
    ".hypothesis",
    "thumbs.db",
)
#: Files and folders that are refused by name.
_REFUSED: Final = (
    # Variables
    ".env*",
    "*.env",
    # Keys
    "*.jks",
    "*.kdbx",
    "*.key",
    "*.keystore",
    "*.keytab",
    "*.gpg",
    "*.ovpn",
    "*.p12",
    "*.p8",
    "*.pem",
    "*.pfx",
    "*.pgp",
    "*.ppk",
    "id_dsa*",
    "id_ecdsa*",
    "id_ed25519*",
    "id_rsa*",
    # Logins
    ".aws",
    ".azure",
    ".boto",
    ".docker",
    ".dockercfg",
    ".gcloud",
    ".git-credentials",
    ".gnupg",
    ".htpasswd",
    ".kube",
    ".my.cnf",
    ".netrc",
    ".npmrc",
    ".pgpass",
    ".pypirc",
    ".s3cfg",
    ".secrets",
    ".ssh",
    ".vault-token",
    ".yarnrc.yml",
    "_netrc",
    "*[-_]credentials.json",
    "*firebase-adminsdk*.json",
    "*service[-_]account*.json",
    "*serviceaccount*.json",
    "*.kubeconfig",
    "client_secret*.json",
    "kubeconfig*",
    # State of infrastructure
    ".terraform",
    "*.tfstate",
    "*.tfstate.*",
    "*.tfvars",
    "*.tfvars.json",
    # Data
    "*.backup",
    "*.bak",
    "*.db",
    "*.dmp",
    "*.dump",
    "*.dump.gz",
    "*.sql.gz",
    "*.sqlite*",
    "backup.sql",
    "dump.sql",
    # What was typed, said, measured or half written
    ".coverage",
    ".coverage.*",
    ".*_history",
    "*.log",
    "*.log.*",
    "*.swo",
    "*.swp",
    "*~",
    "coverage.json",
    "coverage.xml",
    "htmlcov",
    "lcov.info",
    "nohup.out",
    # Version control, environments and what this toolkit keeps
    ".fairlead",
    ".git",
    ".hg",
    ".idea",
    ".nox",
    ".svn",
    ".tox",
    ".venv",
    ".vscode",
    "node_modules",
    "pyvenv.cfg",
    "venv",
)
_ALLOWED: Final = frozenset({".env.example", ".env.sample", ".env.template"})
# A module may be called secrets.py: only what holds data is refused by such a name.
_SECRET_DATA: Final = re.compile(
    r"(?:credentials?|secrets?|passwords?|passwd)(?:[.-][\w-]+)?"
    r"\.(?:json|ya?ml|toml|ini|cfg|conf|properties|txt|csv|xml|enc|asc)|credentials|passwords?|passwd|secrets?"
)

_PRIVATE_KEYS: Final = (
    # The marker alone may be a constant of a program that reads keys: a key has a body.
    re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----.{0,200}?[A-Za-z0-9+/]{40}", re.DOTALL),
    re.compile(rb"AGE-SECRET-KEY-1[A-Z0-9]{50}"),
)
_SECRET_VARIABLE: Final = re.compile(
    r"SECRET|TOKEN|PASSWORD|PASSWD|PASSPHRASE|PWD$|CREDENTIAL|(?:^|_)(?:API)?KEY(?:_|$)|_AUTH$|"
    r"(?:^|_)SALT(?:_|$)",
    re.IGNORECASE,
)
#: Variables that say something about a secret and are none.
_ABOUT_A_SECRET: Final = re.compile(
    r"_(?:ALG|ALGORITHM|DIR|EXPIRY|FILE|HOST|ID|LENGTH|NAME|PATH|SECONDS|SOCK|TTL|TYPE|USER)$", re.IGNORECASE
)
_SHORTEST_SECRET: Final = 12


def is_leftover(inside: PurePosixPath) -> bool:
    """Tell whether a path is a tool's leftover, which is passed over."""
    return any(_matches(part, _LEFTOVERS) for part in inside.parts)


def refused_part(inside: PurePosixPath) -> PurePosixPath | None:
    """Return the first part of a path, with what is above it, that never belongs in a bundle by its name."""
    for depth, part in enumerate(inside.parts, 1):
        if part not in _ALLOWED and _matches(part, _REFUSED):
            return PurePosixPath(*inside.parts[:depth])
    *folders, name = (part.lower() for part in inside.parts)
    if _SECRET_DATA.fullmatch(name) or ("secrets" in folders and not name.endswith((".py", ".pyi"))):
        return inside
    return None


def find_secret(content: bytes, secrets: Mapping[str, Iterable[bytes]]) -> str | None:
    """Say which secret a file holds, never its value; None where it holds none.

    `secrets` are the forms of each secret by the name of its variable.
    """
    if any(pattern.search(content) for pattern in _PRIVATE_KEYS):
        return "it holds a private key"
    for name, forms in secrets.items():
        if any(form in content for form in forms):
            return f"it holds the secret that the variable {name} has here"
    return None


def collect_secrets(environ: Mapping[str, str], names: Iterable[str] = ()) -> dict[str, frozenset[bytes]]:
    """Collect the secrets of an environment, in the forms in which a file may hold them, by their variables.

    A variable holds one when its name says so or is among `names`, and any address may have a password inside. Texts of
    fewer than 12 characters are left out: they are too likely to stand in a file by chance.
    """
    known = set(names)
    found: dict[str, frozenset[bytes]] = {}
    for name, value in sorted(environ.items()):
        told = name in known or (_SECRET_VARIABLE.search(name) and not _ABOUT_A_SECRET.search(name))
        forms = passwords_in(value.strip()) if "://" in value else {value.strip()} if told else set()
        usable = {form.encode("utf-8", "surrogateescape") for form in forms if _may_be_secret(form)}
        if usable:
            found[name] = frozenset(usable)
    return found


def _matches(part: str, patterns: tuple[str, ...]) -> bool:
    return _compile(patterns).fullmatch(part.lower()) is not None


@functools.cache
def _compile(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(fnmatch.translate, patterns)))


def _may_be_secret(text: str) -> bool:
    # A variable called CREDENTIALS often holds the path of a file, which may stand anywhere.
    return len(text) >= _SHORTEST_SECRET and not os.path.exists(text)  # noqa: PTH110 - Path raises for a long text
