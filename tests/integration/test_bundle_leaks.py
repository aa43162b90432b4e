"""What a bundle may never hold and always is, through the command line: no secret, and the same bytes everywhere."""

import json
import os
import shlex
import subprocess
import sys
import tarfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from fairlead.bundle import compute_digest, read_entries

ROOT = Path(__file__).resolve().parents[2]
CANARY = "Kanarienvogel-7c1f4be2d9"
PYPROJECT = """\
[tool.fairlead]
name = "shop"
backend = "shop"
migrations.directory = "shop/migrations"
description = "Sells \\"things\\"\\n to people"

[tool.fairlead.bundle]
include = [{include}]
toolkit = {toolkit}

[tool.fairlead.environments.staging]
platform = "railway"
url = "https://staging.example.com"
token-env = "STAGING_DEPLOYER"
database-url-env = "STAGING_DATABASE"
"""
TIDY = ("app/**/*.py", "migrations/*.sql", "requirements.txt")
APPLICATION = {
    "app/__init__.py": "",
    "app/main.py": "KEY = 'read from the environment'\n",
    "app/größe.py": "GRÖSSE = 1\n",
    "app/secrets.py": "import os\n",
    "migrations/001_start.sql": "CREATE TABLE one (id int);\n",
    "requirements.txt": "",
    "start.sh": "#!/bin/sh\n",
}
#: Files that hold secrets, data or a machine's own affairs, and what is named when a pattern is greedy enough.
SECRETS = {
    ".env": ".env",
    ".env.local": ".env.local",
    ".env.production": ".env.production",
    "app/other/.ENV": "app/other/.ENV",
    ".envrc": ".envrc",
    "app/.env": "app/.env",
    "prod.env": "prod.env",
    "server.pem": "server.pem",
    "app/private.KEY": "app/private.KEY",
    "store.p12": "store.p12",
    "store.jks": "store.jks",
    "id_rsa": "id_rsa",
    "id_ed25519.pub": "id_ed25519.pub",
    "login.ppk": "login.ppk",
    "passwords.kdbx": "passwords.kdbx",
    ".ssh/config": ".ssh",
    ".gnupg/secring": ".gnupg",
    ".netrc": ".netrc",
    ".npmrc": ".npmrc",
    ".pypirc": ".pypirc",
    ".pgpass": ".pgpass",
    ".htpasswd": ".htpasswd",
    ".git-credentials": ".git-credentials",
    ".docker/config.json": ".docker",
    ".aws/credentials": ".aws",
    "credentials": "credentials",
    "credentials.json": "credentials.json",
    "app/gcp-credentials.json": "app/gcp-credentials.json",
    "client_secret_1.apps.json": "client_secret_1.apps.json",
    "service-account.json": "service-account.json",
    "my-service_account.json": "my-service_account.json",
    "shop-firebase-adminsdk-x1.json": "shop-firebase-adminsdk-x1.json",
    "secrets.yml": "secrets.yml",
    "app/secrets.production.yaml": "app/secrets.production.yaml",
    "secrets/database_password": "secrets/database_password",
    "password.txt": "password.txt",
    ".streamlit/secrets.toml": ".streamlit/secrets.toml",
    "kubeconfig": "kubeconfig",
    ".kube/config": ".kube",
    "terraform.tfstate": "terraform.tfstate",
    "terraform.tfstate.backup": "terraform.tfstate.backup",
    "prod.tfvars": "prod.tfvars",
    "shop.sqlite3": "shop.sqlite3",
    "shop.sqlite3-wal": "shop.sqlite3-wal",
    "shop.db": "shop.db",
    "backup-2026.dump": "backup-2026.dump",
    "shop.sql.gz": "shop.sql.gz",
    "dump.sql": "dump.sql",
    "app/main.py.bak": "app/main.py.bak",
    "app/main.py~": "app/main.py~",
    "app/.main.py.swp": "app/.main.py.swp",
    "shop.log": "shop.log",
    "shop.log.1": "shop.log.1",
    ".psql_history": ".psql_history",
    ".coverage": ".coverage",
    ".coverage.host.1": ".coverage.host.1",
    "coverage.xml": "coverage.xml",
    "htmlcov/index.html": "htmlcov",
    ".git/config": ".git",
    ".git/hooks/pre-push": ".git",
    ".idea/dataSources.xml": ".idea",
    ".vscode/settings.json": ".vscode",
    ".fairlead/history.jsonl": ".fairlead",
    ".nox/lint/x.py": ".nox",
    ".venv/lib/x.py": ".venv",
    "venv/lib/x.py": "venv",
    "environment/pyvenv.cfg": "environment/pyvenv.cfg",
    "node_modules/x/index.js": "node_modules",
}
#: What tools leave behind, passed over in silence.
LEFTOVERS = (
    "app/__pycache__/main.cpython-311.pyc",
    "app/old.pyc",
    ".DS_Store",
    "app/.DS_Store",
    ".mypy_cache/x.json",
    ".pytest_cache/v/x",
    ".ruff_cache/x",
    ".hypothesis/x",
)


@dataclass(frozen=True)
class Done:
    """What a command left: its exit code and the two streams."""

    returncode: int
    stdout: str
    stderr: str


def make_shop(root: Path, *, include: tuple[str, ...], toolkit: bool = False) -> Path:
    for name, content in APPLICATION.items():
        plant(root / "shop" / name, content)
    (root / "shop/start.sh").chmod(0o755)
    patterns = ", ".join(f'"{pattern}"' for pattern in include)
    (root / "pyproject.toml").write_text(PYPROJECT.format(include=patterns, toolkit=str(toolkit).lower()), "utf-8")
    return root


def plant(file: Path, content: str = CANARY) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content, "utf-8")


def build(root: Path, *arguments: str, umask: int = 0o022, **environ: str) -> Done:
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-m", "fairlead", "build", *arguments],
        cwd=root,
        env={**inherited, "PYTHONPATH": str(ROOT), **environ},
        umask=umask,
        capture_output=True,
        check=False,
        encoding="utf-8",
        timeout=60,
    )
    return Done(done.returncode, done.stdout, done.stderr)


# --- no secret ---


def test_a_pattern_that_matches_everything_is_refused_for_each_file_that_has_no_business_in_a_release(
    tmp_path: Path,
) -> None:
    root = make_shop(tmp_path, include=("**/*",))
    for name in (*SECRETS, *LEFTOVERS):
        plant(root / "shop" / name)
    done = build(root, "--output", str(tmp_path / "out.tar.gz"))
    told = [line.removeprefix("  - ") for line in done.stderr.splitlines() if line.startswith("  - ")]
    assert done.returncode == 17
    assert sorted(line.split(": a f")[0] for line in told) == sorted(set(SECRETS.values()))
    assert all(line.endswith("of this name never goes into a release") for line in told)
    assert CANARY not in done.stdout + done.stderr
    assert not (tmp_path / "out.tar.gz").exists()


def test_patterns_that_name_the_application_leave_every_secret_out(tmp_path: Path) -> None:
    # x.py of an environment, app/… of a careless person: what `app/**/*.py` reaches is the application's alone.
    root = make_shop(tmp_path, include=TIDY)
    for name in (*SECRETS, *LEFTOVERS):
        plant(root / "shop" / name)
    archive = tmp_path / "out.tar.gz"
    done = build(root, "--output", str(archive))
    assert done.returncode == 0, done.stderr
    entries = read_entries(archive)
    assert {str(entry.path) for entry in entries} == {*APPLICATION, "build-info.json"} - {"start.sh"}
    assert CANARY.encode() not in archive.read_bytes()


def test_leftovers_of_tools_are_passed_over_by_the_greediest_pattern(tmp_path: Path) -> None:
    root = make_shop(tmp_path, include=("**/*",))
    for name in LEFTOVERS:
        plant(root / "shop" / name)
    done = build(root, "--output", str(tmp_path / "out.tar.gz"))
    assert done.returncode == 0, done.stderr
    assert {str(entry.path) for entry in read_entries(tmp_path / "out.tar.gz")} == {*APPLICATION, "build-info.json"}


@pytest.mark.parametrize("variable", ["STRIPE_SECRET", "STAGING_DEPLOYER", "SHOP_PASSWORD", "STAGING_DATABASE"])
def test_secret_of_this_environment_inside_a_file_is_refused_and_never_shown(tmp_path: Path, variable: str) -> None:
    root = make_shop(tmp_path, include=TIDY)
    plant(root / "shop/app/settings.py", f"DEFAULT = '{CANARY}'\n")
    value = f"postgresql://shop:{CANARY}@db.example.com/shop" if variable == "STAGING_DATABASE" else CANARY
    done = build(root, "--output", str(tmp_path / "out.tar.gz"), **{variable: value})
    assert done.returncode == 17
    assert f"app/settings.py: it holds the secret that the variable {variable} has here" in done.stderr
    assert CANARY not in done.stdout + done.stderr
    assert not (tmp_path / "out.tar.gz").exists()


# --- the same bytes ---


def test_two_builds_of_one_tree_are_the_same_bytes_whoever_makes_them_and_wherever(tmp_path: Path) -> None:
    fixed = {"GITHUB_SHA": "f" * 40, "GITHUB_REF_NAME": "main", "SOURCE_DATE_EPOCH": "1715000000", "USER": "a"}
    one = make_shop(tmp_path / "one", include=TIDY, toolkit=True)
    archives = [tmp_path / "one.tar.gz", tmp_path / "other.tar.gz", tmp_path / "third.tar.gz"]
    told = [build(one, "--output", str(archives[0]), LC_ALL="C.UTF-8", TZ="UTC", PYTHONHASHSEED="1", **fixed)]

    umask = os.umask(0o077)
    try:
        other = make_shop(tmp_path / "deep er" / "größer", include=TIDY[::-1], toolkit=True)
    finally:
        os.umask(umask)
    for file in other.rglob("*"):
        os.utime(file, (1, 1))
    elsewhere = {"LC_ALL": "C", "TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "4242", "HOME": str(tmp_path)}
    told.append(build(other, "--output", str(archives[1]), umask=0o077, **elsewhere, **fixed))
    somebody = {**fixed, "USER": "b", "LOGNAME": "b", "SOURCE_DATE_EPOCH": "1800000000", "GITHUB_RUN_NUMBER": "7"}
    told.append(build(other, "--output", str(archives[2]), **somebody))

    assert [one.returncode for one in told] == [0, 0, 0], told
    assert len({one.stdout for one in told}) == 1
    assert archives[0].read_bytes() == archives[1].read_bytes()
    first, third = ({str(entry.path): entry for entry in read_entries(archives[index])} for index in (0, 2))
    assert [name for name in first if first[name] != third[name]] == ["build-info.json"]
    assert first.keys() == third.keys()


def test_the_build_info_in_the_archive_names_the_digest_of_what_is_around_it(tmp_path: Path) -> None:
    root = make_shop(tmp_path, include=TIDY)
    told = json.loads(build(root, "--output", str(tmp_path / "out.tar.gz"), "--json").stdout)
    entries = read_entries(tmp_path / "out.tar.gz")
    (info,) = (json.loads(entry.content) for entry in entries if str(entry.path) == "build-info.json")
    assert info["digest"] == told["digest"] == compute_digest(entries)
    assert info["dirty"] is told["dirty"] is True


# --- the labels of an image ---


def test_labels_reach_docker_word_for_word(tmp_path: Path) -> None:
    # As the Dockerfile's comment has it; a stand-in for docker writes down what it is given.
    root = make_shop(tmp_path / "project", include=TIDY)
    received = tmp_path / "received"
    plant(tmp_path / "bin/docker", f"#!/bin/sh\nprintf '%s\\n' \"$@\" > {shlex.quote(str(received))}\n")
    (tmp_path / "bin/docker").chmod(0o755)
    environ = {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "GITHUB_SHA": "f" * 40,
        "GITHUB_REPOSITORY": "acme/shop",
        "SOURCE_DATE_EPOCH": "1715000000",
    }
    command = (
        f"{shlex.quote(sys.executable)} -m fairlead build --labels | tr '\\n' '\\0' | xargs -0 docker build -t shop ."
    )
    subprocess.run(["sh", "-c", command], cwd=root, env=environ, check=True, capture_output=True, timeout=60)
    assert received.read_text("utf-8").splitlines() == [
        "build",
        "-t",
        "shop",
        ".",
        "--label=org.opencontainers.image.created=2024-05-06T12:53:20Z",
        '--label=org.opencontainers.image.description=Sells "things" to people',
        f"--label=org.opencontainers.image.revision={'f' * 40}-dirty",
        "--label=org.opencontainers.image.source=https://github.com/acme/shop",
        "--label=org.opencontainers.image.title=shop",
        "--label=org.opencontainers.image.version=0.0.0",
    ]


# --- this repository's own bundle ---


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return this repository's bundle, unpacked."""
    folder = tmp_path_factory.mktemp("own")
    done = build(ROOT, "--output", str(folder / "bundle.tar.gz"))
    assert done.returncode == 0, done.stderr
    with tarfile.open(folder / "bundle.tar.gz") as archive:
        archive.extractall(folder / "release", filter="data")
    return folder / "release"


def test_the_dockerfile_copies_only_what_the_bundle_holds(own: Path) -> None:
    sources = [
        source
        for words in instructions((own / "Dockerfile").read_text("utf-8"), "COPY")
        if not any(word.startswith("--from=") for word in words)
        for source in words[:-1]
    ]
    assert sources
    assert [source for source in sources if not (own / source).exists()] == []


def test_the_dockerfile_leaves_nothing_behind_that_the_release_runs(own: Path) -> None:
    copied = {
        source.rstrip("/")
        for words in instructions((own / "Dockerfile").read_text("utf-8"), "COPY")
        for source in words
    }
    of_the_platform = {"Dockerfile", "Procfile", "railway.json"}
    assert {file.name for file in own.iterdir()} - of_the_platform <= copied


def test_the_image_is_built_in_stages_from_a_slim_base_pinned_by_its_digest(own: Path) -> None:
    text = (own / "Dockerfile").read_text("utf-8")
    bases = [words[0] for words in instructions(text, "FROM")]
    ((argument,),) = instructions(text, "ARG")
    name, _, base = argument.partition("=")
    assert len(bases) == 2
    assert set(bases) == {f"${{{name}}}"}
    image, _, tag = base.partition(":")
    version, *rest = tag.split("-")
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["classifiers"]
    assert (image, rest[0]) == ("python", "slim")
    assert f"Programming Language :: Python :: {version}" in requires
    assert len(rest) == 2, "the tag names the release of Debian too, or the image changes it by itself"


def test_the_image_runs_as_a_user_that_a_cluster_can_tell_is_not_root(own: Path) -> None:
    last = (own / "Dockerfile").read_text("utf-8").rpartition("\nFROM ")[2]
    ((user,),) = instructions(last, "USER")
    assert all(part.isdecimal() and int(part) >= 10000 for part in user.split(":"))
    order = [line.split(" ")[0] for line in last.splitlines()]
    assert order.index("USER") > max(index for index, word in enumerate(order) if word in {"COPY", "RUN"})


def test_the_image_checks_its_own_health_as_the_platform_does(own: Path) -> None:
    (words,) = instructions((own / "Dockerfile").read_text("utf-8"), "HEALTHCHECK")
    command = json.loads(" ".join(words).partition("CMD ")[2])
    health = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["fairlead"]["health-path"]
    assert command[:2] == ["python", "-c"]
    assert health in command[2]
    compile(command[2], "HEALTHCHECK", "exec")


def test_the_image_names_no_secret(own: Path) -> None:
    text = (own / "Dockerfile").read_text("utf-8")
    named = [word for kind in ("ARG", "ENV") for words in instructions(text, kind) for word in words]
    assert [word for word in named if any(part in word for part in ("SECRET", "TOKEN", "PASSWORD", "URL"))] == []


def instructions(dockerfile: str, kind: str) -> list[list[str]]:
    """Return the words of each instruction of a kind, continued lines joined."""
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    whole = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [line.split()[1:] for line in whole if line.split()[:1] == [kind]]
