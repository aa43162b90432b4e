"""Plants every kind of secret, and benign files of the same shape, in a repository, and lets both scanners look at it.

Nothing planted stands in this file: it is made as the test runs, of parts, since the scanners look here as well.
"""

import base64
import json
import os
import random
import shutil
import string
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fairlead.security import baseline, detect_secrets, kingfisher, rebaseline
from fairlead.security.report import Scan

pytest.importorskip("detect_secrets", reason="the scanner is installed for the security gate only")
if not (Path(sys.executable).parent / "kingfisher").is_file() and shutil.which("kingfisher") is None:
    pytest.skip("the scanner is installed for the security gate only", allow_module_level=True)

LETTERS = string.ascii_letters + string.digits
HEX = "0123456789abcdef"

_random = random.Random(20261121)  # noqa: S311 - what is planted must only look random, and be the same every time


def draw(length: int, letters: str = LETTERS) -> str:
    return "".join(_random.choice(letters) for _ in range(length))


def draw_uuid() -> str:
    return "-".join(draw(length, HEX) for length in (8, 4, 4, 4, 12))


def encode(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def make_key() -> str:
    name = "RSA PRIVATE " + "KEY"
    return "\n".join([f"-----BEGIN {name}-----", *(draw(64) for _ in range(12)), f"-----END {name}-----", ""])


def make_jwt() -> str:
    return f"{encode({'alg': 'HS256', 'typ': 'JWT'})}.{encode({'sub': '4711', 'iat': 1760000000})}.{draw(43)}"


SECRETS: dict[str, str] = {
    "aws.py": f'AWS_ACCESS_KEY_ID = "{"AK" + "IA"}{draw(16, string.ascii_uppercase + "234567")}"\n',
    "github.yml": f"token: {'gh' + 'p_'}{draw(36)}\n",
    "slack.py": f'SLACK = "{"xo" + "xb"}-{draw(12, string.digits)}-{draw(12, string.digits)}-{draw(24)}"\n',
    "stripe.env": f"STRIPE_SECRET_KEY={'sk' + '_live_'}{draw(24)}\n",
    "twilio.env": f"TWILIO_AUTH_TOKEN={draw(32, HEX)}\n",
    "anthropic.env": f"ANTHROPIC_API_KEY={'sk-' + 'ant-api03-'}{draw(93)}AA\n",
    "google.js": f'const key = "{"AI" + "za"}{draw(35)}";\n',
    "key.pem": make_key(),
    "jwt.txt": f"Authorization: Bearer {make_jwt()}\n",
    "basic.md": f"curl https://deploy:{draw(16)}@registry.acme-corp.io/v2/\n",
    "railway.sh": f"export RAILWAY_TOKEN={draw_uuid()}\n",
    "database.env": f"DATABASE_URL=postgresql://app:{draw(20)}@db.acme-corp.io:5432/app\n",
    "password.py": f'DB_PASSWORD = "{draw(8)}!{draw(8)}#{draw(6)}"\n',
    "npmrc.svg": f"//registry.npmjs.org/:_authToken={'np' + 'm_'}{draw(36)}\n",
}

BENIGN: dict[str, str] = {
    "example.env": "STRIPE_SECRET_KEY=\nANTHROPIC_API_KEY=<your key>\nDATABASE_URL=${DATABASE_URL}\n",
    "placeholders.md": f"Set `GITHUB_TOKEN={'gh' + 'p_'}{'x' * 36}` and `RAILWAY_TOKEN=<token>`.\n",
    "requirements.txt": f"httpx==0.28.1 \\\n    --hash=sha256:{draw(64, HEX)} \\\n    --hash=sha256:{draw(64, HEX)}\n",
    "ids.py": f'TENANT = "{draw_uuid()}"\nPROJECT_ID = "{draw_uuid()}"\n',
    "image.html": f'<img src="data:image/png;base64,{base64.b64encode(_random.randbytes(900)).decode()}">\n',
    "settings.py": 'import os\n\npassword = os.environ["DB_PASSWORD"]\napi_key = load_key("stripe")\n',
    "workflow.yml": f"jobs:\n  a:\n    steps:\n      - uses: actions/checkout@{draw(40, HEX)} # v5.0.0\n"
    "        env:\n          RAILWAY_TOKEN: ${{ secrets.RAILWAY_TOKEN }}\n",
    "Dockerfile": f"FROM python:3.13-slim@sha256:{draw(64, HEX)}\n",
    "public.pem": f"-----BEGIN PUBLIC KEY-----\n{draw(64)}\n{draw(64)}\n-----END PUBLIC KEY-----\n",
    "package-lock.json": json.dumps({"integrity": f"sha512-{base64.b64encode(_random.randbytes(64)).decode()}"}),
    "docs.md": "Connect to `postgresql://localhost:5432/app`; the password is asked for, or read from `PGPASSWORD`.\n",
}


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"]
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(
        ["git", *who, *arguments], cwd=folder, env=variables, check=True, capture_output=True, text=True
    ).stdout


def make_repository(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    for name, content in files.items():
        (folder / name).write_text(content)
    git(folder, "add", "--all", "--force")
    return folder


def scan_both(repository: Path) -> tuple[Scan, Scan]:
    return detect_secrets.scan(repository), kingfisher.scan(repository)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Scan, Scan]:
    # Names that scanners pass over by themselves: an ignored file, and a suffix that stands for a picture.
    ignored = {".gitignore": "*.env\n", ".ignore": "*.py\n"}
    files = {**SECRETS, **BENIGN, **ignored}
    return scan_both(make_repository(tmp_path_factory.mktemp("planted") / "repository", files))


def test_both_scanners_say_that_they_scanned_every_file(planted: tuple[Scan, Scan]) -> None:
    count = len(SECRETS) + len(BENIGN) + 2
    assert [(scan.gaps, scan.looked_at) for scan in planted] == [
        ((), f"{count} of {count} tracked texts scanned"),
        ((), f"{count} of {count} files scanned, all tracked"),
    ]


def test_the_planted_secrets_are_found(planted: tuple[Scan, Scan]) -> None:
    assert len(SECRETS) == 14
    found = {finding.path for scan in planted for finding in scan.findings}
    assert set(SECRETS) - found == set()


def test_benign_files_of_the_same_shape_give_one_alarm_at_most(planted: tuple[Scan, Scan]) -> None:
    assert len(BENIGN) == 11
    alarms = [(scan.tool, one.path) for scan in planted for one in scan.findings if one.path in BENIGN]
    # detect-secrets hands over the first letters of a GitHub token only: no filter can see that the rest is a filler.
    assert alarms == [("detect-secrets", "placeholders.md")]


def test_no_finding_shows_the_secret_that_it_is_about(planted: tuple[Scan, Scan]) -> None:
    shown = repr(planted)
    words = {word for content in SECRETS.values() for word in content.replace('"', " ").split() if len(word) > 20}
    assert len(words) >= 10
    assert not [word for word in words if word in shown or word.rpartition("=")[2][-20:] in shown]


def test_a_mark_excuses_a_line_when_it_says_why(tmp_path: Path) -> None:
    secret = SECRETS["github.yml"].rstrip()
    files = {
        "reason.yml": f"{secret} # pragma: allowlist secret - of a project that is gone\n",
        "none.yml": f"{secret} # pragma: allowlist secret\n",
    }
    for scan in scan_both(make_repository(tmp_path / "repository", files)):
        assert scan.ran
        assert {finding.path for finding in scan.findings} == {"none.yml"}


def test_the_baseline_excuses_what_a_person_has_judged_and_nothing_new(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repository", {"database.env": SECRETS["database.env"]})
    assert rebaseline.write(repository) == 2  # each scanner's own
    edit_entries(repository, lambda entry: {**entry, "is_secret": False, "reason": "revoked in May"})
    assert all(scan.passed for scan in scan_both(repository))
    (repository / "database.env").write_text(f"OTHER=https://u:{draw(18)}@h.acme-corp.io\n{SECRETS['database.env']}")
    assert [[(one.rule, one.line) for one in scan.findings] for scan in scan_both(repository)] == [
        [("basic-auth-credentials", 1)],
        [("betterleaks.generic-credential-uri", 1)],
    ]
    (repository / "database.env").write_text("GONE=true\n")
    assert [{one.rule for one in scan.findings} for scan in scan_both(repository)] == [{"stale-baseline-entry"}] * 2


def edit_entries(repository: Path, change: Callable[[dict[str, object]], dict[str, object]]) -> None:
    path = repository / baseline.FILE
    content = json.loads(path.read_text())
    content["results"] = {name: [change(one) for one in entries] for name, entries in content["results"].items()}
    path.write_text(json.dumps(content))


def test_what_was_taken_out_again_is_found_in_the_history(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repository", {"railway.sh": SECRETS["railway.sh"], "a.txt": "a\n"})
    git(repository, "commit", "--quiet", "-m", "Add")
    git(repository, "rm", "--quiet", "railway.sh")
    git(repository, "commit", "--quiet", "-m", f"Remove {SECRETS['github.yml']}")
    scan = kingfisher.scan(repository, history=True)
    assert scan.gaps == ()
    assert scan.looked_at == "4 of 4 files scanned, of the whole history"  # two files, two messages
    assert {finding.path for finding in scan.findings} == {"railway.sh", "commit"}
    rebaseline.write(repository, history=True)
    edit_entries(repository, lambda entry: {**entry, "is_secret": False, "reason": "revoked in May"})
    assert kingfisher.scan(repository, history=True).passed
    assert kingfisher.scan(repository).passed


def test_a_shallow_clone_is_a_gap(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repository", {"a.txt": "a\n"})
    git(repository, "commit", "--quiet", "-m", "One")
    git(repository, "commit", "--quiet", "--allow-empty", "-m", "Two")
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{repository}", "shallow")
    scan = kingfisher.scan(tmp_path / "shallow", history=True)
    assert not scan.passed
    assert "shallow" in scan.gaps[0]
