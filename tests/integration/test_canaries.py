"""Canaries in every variable and file that the acts read, and in all that a platform says: none gets out anywhere.

The acts run as processes of their own. Looked at is what they print, every file that they leave, and the arguments of
every process that they start, for each canary as it is and as base64 and hexadecimal have it; whatever else encodes
a text leaves the letters of a canary as they are.
"""

import base64
import gzip
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

import fairlead
from fairlead._locks import LOCKS
from fairlead.postgres import Databases
from tests.git import git
from tests.integration.arguments import Watch
from tests.integration.deploy.railway_double import OLD, OLDER, TOKEN, RailwayDouble
from tests.integration.deploy.script import Plan
from tests.integration.deploy.shop import DEPLOY, FILES, PYPROJECT
from tests.integration.deploy.sockets import refuse, say
from tests.integration.tasks.test_acts import free_port, make_shop, remove_platform
from tests.unit.environment.described import document
from tests.unit.environment.test_checking import PROGRAM

PATIENCE = 120.0
ADVISORIES = Path(__file__).resolve().parents[1] / "advisories" / "advisories.json"
SETTINGS = (
    PYPROJECT.replace('branch = "main"', 'branch = "main"\ndatabase-url-env = "STAGING_DATABASE_URL"')
    + '\n[tool.fairlead.env]\ndescribe = ["python", "tell.py"]\n'
)
#: A suite that says all that it knows when it fails.
SUITE = """\
import os

import pytest

SUITE_ORDER = 1


@pytest.mark.smoke
@pytest.mark.phase("fetch")
def test_orders_are_listed(api):
    print("the account is", os.environ["VERIFY_EMAIL"], os.environ["VERIFY_PASSWORD"])
    known = {name: value for name, value in os.environ.items() if name.startswith("VERIFY_")}
    assert api.get("/api/orders?token=" + known["VERIFY_PASSWORD"]).status == 299, known


@pytest.mark.phase("persistence")
def test_somebody_can_log_in(api):
    api.log_in("/api/auth/login", email="me@example.com", password=os.environ["VERIFY_PASSWORD"])
"""


def make_canary() -> str:
    """Make a secret whose middle no encoding of texts changes, with letters around that all of them change."""
    return f"/+\"{secrets.token_hex(12)}é& '"


@dataclass(frozen=True, slots=True)
class Flock:
    """The canaries: by the variables of the acts, by those of the platform, and the one in a file."""

    variables: Mapping[str, str]
    platform: Mapping[str, str]
    file: str
    database: str

    @property
    def all(self) -> tuple[str, ...]:
        """Every canary, as it was planted."""
        return (TOKEN, *self.variables.values(), *self.platform.values(), self.file, self.database)

    @property
    def blab(self) -> str:
        """What a platform might say that says too much."""
        platform = " ".join(f"{name}={value!r}" for name, value in self.platform.items())
        mine = "; ".join(self.variables.values())
        return f"header Bearer {TOKEN}, variables {platform}, {base64.b64encode(TOKEN.encode()).decode()}, {mine}"

    def find(self, text: str) -> list[str]:
        """Return which canaries stand in a text, in which encoding."""
        found = []
        for canary in self.all:
            core = "".join(letter for letter in canary if letter.isascii() and letter not in "/+\"& '")
            for name, form in _encode(core).items():
                if form in text:
                    found.append(f"{core[:6]}… {name}")
        return found


def _encode(core: str) -> dict[str, str]:
    told = core[: len(core) * 2 // 3]
    forms = {"as it is": told, "in hexadecimal": told.encode().hex()}
    for before in range(3):
        first, last = -(-before * 8 // 6), (before + len(told)) * 8 // 6
        forms[f"in base64, {before}"] = base64.b64encode(bytes(before) + told.encode() + b"\0\0").decode()[first:last]
    return forms


@pytest.fixture
def tmp_path(memory_path: Path) -> Path:
    """A folder of the test's own, in memory, where databases are quick to make and to remove."""
    return memory_path


@pytest.fixture(scope="module")
def flock() -> Flock:
    names = ("VERIFY_PASSWORD", "VERIFY_STRIPE_WEBHOOK_SECRET", "JWT_SECRET", "SOME_API_KEY", "GITHUB_TOKEN")
    variables = {name: make_canary() for name in names} | {"FAIRLEAD_APPROVAL_KEY": secrets.token_hex(24)}
    platform = {name: make_canary() for name in ("SIGNING_KEY", "STRIPE_KEY")}
    return Flock(variables, platform, file=make_canary(), database=make_canary())


@dataclass(slots=True)
class Yard:
    """A repository in which everything is a secret, the platform that it goes to, and how acts are run there."""

    root: Path
    flock: Flock
    double: RailwayDouble
    environ: dict[str, str]
    planted: set[Path] = field(default_factory=set)

    def run(self, *arguments: str, **environ: str) -> "Ran":
        """Run an act, and watch the arguments of all processes that it starts."""
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=self.root,
            env={**self.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with Watch(process.pid) as watch:
            out, err = process.communicate(timeout=PATIENCE)
        return Ran(process.returncode, out, err, b" ".join(watch.seen).decode("utf-8", "replace"))

    def find_leaks(self, ran: "Ran") -> list[str]:
        """Return where canaries stand now that an act has ended."""
        places = {"standard output": ran.out, "standard error": ran.err, "the arguments of a process": ran.arguments}
        for file in self.root.rglob("*"):
            if file.is_file() and file not in self.planted:
                content = file.read_bytes()
                unpacked = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
                places[str(file.relative_to(self.root))] = f"{file.name} {unpacked.decode('utf-8', 'replace')}"
        return [f"{one} in {place}" for place, text in places.items() for one in self.flock.find(text)]


@dataclass(frozen=True, slots=True)
class Ran:
    """What an act left: its exit code, the two streams, and the arguments of all processes that it started."""

    code: int
    out: str
    err: str
    arguments: str


@pytest.fixture
def yard(flock: Flock, tmp_path: Path, postgres_server: Databases) -> Iterator[Yard]:
    files = {**FILES, "pyproject.toml": SETTINGS, "checks/test_orders.py": SUITE}
    files["shop/tell.py"] = PROGRAM.format(document=document())
    files["shop/app/data.bin"] = "data"
    secret = {".env": f"SIGNING_KEY={flock.file}\nDATABSE_URL={flock.file}\n"}
    root = tmp_path / "shop"
    for name, content in {**files, **secret, ".gitignore": ".fairlead/\n.env\n"}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content, "utf-8")
    git(root, "init", "--quiet", "--initial-branch", "main")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "Start the shop")
    server = urlsplit(postgres_server.url("postgres"))
    address = (
        f"postgresql://{server.username}:{quote(flock.database, safe='')}@{server.hostname}:{server.port}/postgres"
    )
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    with RailwayDouble() as double:
        revision = git(root, "rev-parse", "HEAD")
        double.serve_release(3, OLDER, revision=revision)
        double.serve_release(4, OLD, revision=revision)
        double.variables |= {**flock.platform, "DATABASE_URL": address}
        environ = {
            **kept,
            **flock.variables,
            "PYTHONPATH": str(Path(fairlead.__file__).parents[1]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "VERIFY_EMAIL": "me@example.com",
            "RAILWAY_TOKEN": TOKEN,
            "STAGING_DATABASE_URL": address,
            "FAIRLEAD_ENVIRONMENTS_STAGING_URL": double.public_url,
            "FAIRLEAD_ENVIRONMENTS_STAGING_API_URL": double.api_url,
        }
        # The second is where the application's own program keeps what it was given.
        planted = {root / ".env", root / "shop" / "handed.json"}
        yield Yard(root, flock, double, environ, planted)


@dataclass(frozen=True, slots=True)
class Case:
    """An act, how it ends, and a word that it says when it got as far as it should."""

    name: str
    arguments: tuple[str, ...]
    code: int
    says: str
    arrange: Callable[[Yard], None] = lambda yard: None


def _blabbing(yard: Yard) -> None:
    blab = yard.flock.blab
    plan = Plan(build_logs=(blab,), logs=(blab,), events=(("BUILD_IMAGE", blab),))
    yard.double.plan = yard.double.rollback_plan = plan


def _failing(yard: Yard) -> None:
    _blabbing(yard)
    yard.double.plan = replace(yard.double.plan, statuses=("BUILDING", "FAILED"), diagnosis=yard.flock.blab)


def _refusing_upload(yard: Yard) -> None:
    _failing(yard)
    yard.double.fail("up", say(400, {"message": yard.flock.blab}), always=True)


def _refusing_all(yard: Yard) -> None:
    yard.double.fail("projectToken", refuse(f"not {TOKEN} {yard.flock.blab}"), always=True)


def _answering_with_pages(yard: Yard) -> None:
    yard.double.fail("public", say(500, body=yard.flock.blab.encode()), always=True)


def _with_an_address_nobody_can_read(yard: Yard) -> None:
    yard.environ["STAGING_DATABASE_URL"] = f"postgresql://me:{yard.flock.database}@host@other/db"


def _with_a_secret_in_a_setting(yard: Yard) -> None:
    yard.environ["FAIRLEAD_ENVIRONMENTS_STAGING_SOURCE_URL"] = yard.flock.variables["SOME_API_KEY"]


STAGING = ("--env", "staging")
CASES = (
    Case("settings", ("config.show",), 0, "state-directory"),
    Case("settings as JSON", ("config.show", "--json"), 0, "state-directory"),
    Case("a setting that is none", ("config.show",), 10, "no such setting", _with_a_secret_in_a_setting),
    Case("plan of a deploy", ("deploy", *STAGING, "--dry"), 0, "upload", _blabbing),
    Case("deploy", DEPLOY, 0, "release 5", _blabbing),
    Case("deploy that fails", ("--debug", *DEPLOY), 13, "Traceback", _failing),
    Case("deploy whose upload is refused", ("--debug", *DEPLOY), 13, "refused", _refusing_upload),
    Case("deploy that nobody may make", ("--debug", *DEPLOY), 12, "Traceback", _refusing_all),
    Case("migration with a wrong password", ("--debug", "migrate", *STAGING), 11, "password is wrong"),
    Case("status with a wrong password", ("migrations.status", *STAGING), 11, "password is wrong"),
    Case("backup with a wrong password", ("--debug", "db.backup", *STAGING), 12, "password"),
    Case(
        "migration at an address nobody can read",
        ("--debug", "migrate", *STAGING),
        11,
        "cannot be read",
        _with_an_address_nobody_can_read,
    ),
    Case("address", ("db.url", *STAGING), 0, "postgresql://"),
    Case("verification that fails", ("--debug", "verify", *STAGING), 1, "orders"),
    Case("verification of error pages", ("verify", *STAGING), 4, "500", _answering_with_pages),
    Case("variables of a file", ("env.check", "--file", ".env", "--python", sys.executable), 10, "DATABSE_URL"),
    Case("variables of the process", ("env.check", "--process", "--python", sys.executable, "--json"), 10, "SIGNING"),
    Case("settings of the platform", ("railway.settings", *STAGING), 0, "healthcheckPath"),
    Case(
        "program of the platform",
        ("railway.config", "--format", "program", *STAGING, "--output", "-"),
        0,
        "STRIPE_KEY",
    ),
    Case("bundle", ("build",), 0, "sha256:"),
    Case("approval", ("approve", "sha256:" + "0" * 64, "--env", "production", "--auto-confirm"), 0, "may be deployed"),
)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="only Linux shows the arguments of processes there")
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_no_canary_gets_out(case: Case, yard: Yard) -> None:
    case.arrange(yard)
    ran = yard.run("fairlead", *case.arguments)
    assert yard.find_leaks(ran) == [], ran
    assert ran.code == case.code, ran
    assert case.says in ran.out + ran.err, ran
    assert "fairlead" in ran.arguments


@pytest.mark.skipif(shutil.which("bandit") is None, reason="bandit is not installed here")
def test_no_canary_gets_out_of_the_security_gate(yard: Yard) -> None:
    passwords = yard.root / "shop" / "app" / "passwords.py"
    passwords.write_text(f"PASSWORD = {yard.flock.file!r}\nassert PASSWORD\n", "utf-8")
    yard.planted.add(passwords)
    (yard.root / "fairlead").mkdir()
    for lock in LOCKS:
        (yard.root / lock).parent.mkdir(exist_ok=True)
        (yard.root / lock).write_text(f"six==1.17.0 --hash=sha256:{'0' * 64}\n", "utf-8")
    git(yard.root, "add", "--all")
    ran = yard.run("fairlead.security", "--advisories", str(ADVISORIES))
    assert yard.find_leaks(ran) == [], ran
    assert "shop/app/passwords.py:1: B105" in ran.err
    assert ran.code != 0


#: What a release prints that gives away all that it knows, in front of the rest of it.
TELLTALE = """\
import base64, json, os, pathlib
pathlib.Path("environ.json").write_text(json.dumps(dict(os.environ)))
print(dict(os.environ))
print(json.dumps(dict(os.environ), indent=1))
print("Authorization: Basic", base64.b64encode(("me:" + os.environ["SIGNING_KEY"]).encode()).decode())
"""


@pytest.fixture
def telltale(yard: Yard) -> Iterator[Yard]:
    """A repository whose releases run on the local platform and print their whole environment."""
    shutil.rmtree(yard.root)
    port = free_port()
    make_shop(yard.root, port=port)
    app, settings = yard.root / "shop" / "app.py", yard.root / "pyproject.toml"
    app.write_text(TELLTALE + app.read_text("utf-8"), "utf-8")
    declared = '\n[tool.fairlead.environments.local]\ngenerated-secrets = ["SIGNING_KEY"]\n'
    settings.write_text(settings.read_text("utf-8") + declared, "utf-8")
    yield yard
    remove_platform(yard.root)


def test_no_canary_gets_out_of_the_local_platform(telltale: Yard) -> None:
    platform = telltale.root / ".fairlead" / "platform"
    well = telltale.run("fairlead", "--debug", "deploy")
    assert well.code == 0, well
    (told,) = platform.rglob("environ.json")
    known = json.loads(told.read_text("utf-8"))
    told.unlink()
    password = urlsplit(known["DATABASE_URL"]).password or ""
    told_too = replace(telltale.flock, platform={"SIGNING_KEY": known["SIGNING_KEY"], "DATABASE": password})
    app = telltale.root / "shop" / "app.py"
    app.write_text(app.read_text("utf-8").replace("FAULT = ''", "FAULT = 'crash'"), "utf-8")
    crashed = telltale.run("fairlead", "--debug", "deploy")
    assert crashed.code == 13, crashed
    ran = [telltale.run("fairlead", *act) for act in (("platform.logs",), ("platform.logs", "--json"), ("db.url",))]
    assert [one.code for one in ran] == [0, 0, 0]
    assert "SIGNING_KEY" in ran[0].out
    shown = {"the terminal": "".join(one.out + one.err + one.arguments for one in (well, crashed, *ran))}
    shown |= {file.name: file.read_text("utf-8", "replace") for file in platform.rglob("*") if _is_log(file)}
    assert len(shown) > 2
    assert [f"{one} in {place}" for place, text in shown.items() for one in told_too.find(text)] == []
    # What the platform generates it must keep; what the acts were given it must not.
    assert [leak for one in ran for leak in telltale.find_leaks(one)] == []


def _is_log(file: Path) -> bool:
    return file.is_file() and (file.suffix in {".log", ".jsonl"} or file.name == "history.jsonl")


@pytest.mark.parametrize(
    "encode", [str, quote, repr, ascii, lambda text: base64.b64encode(f"me:{text}".encode()).decode()]
)
def test_a_canary_that_is_out_is_found(encode: Callable[[str], str], flock: Flock) -> None:
    assert [one for one in flock.all if not flock.find(f"before {encode(one)} after")] == []
    assert flock.find("nothing at all") == []


def test_whole_flock_is_planted(yard: Yard) -> None:
    """What nobody could leak proves nothing: every canary stands where an act reads it."""
    file = (yard.root / ".env").read_text("utf-8")
    planted = [*yard.environ.values(), *yard.double.variables.values(), file]
    found = {one for text in planted for one in yard.flock.find(text)}
    assert len({one.partition("…")[0] for one in found}) == len(set(yard.flock.all))
