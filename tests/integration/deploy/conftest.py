"""The fixtures of the fault table: a repository, and a Railway of the test's own to deploy it to."""

import importlib
import os
import pkgutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fairlead
from fairlead import deploy
from fairlead.deploy import target
from tests.git import git
from tests.integration.deploy.railway_double import OLD, OLDER, TOKEN, RailwayDouble
from tests.integration.deploy.rows import PRODUCTION
from tests.integration.deploy.shop import FILES, ImpatientClient, Shop


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean repository on its branch main, which no test changes."""
    root = tmp_path_factory.mktemp("shop")
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content, "utf-8")
    # Random bytes, so that an upload is larger than what a connection holds, and can be cut in its middle.
    (root / "shop" / "app" / "data.bin").write_bytes(os.urandom(600_000))
    git(root, "init", "--quiet", "--initial-branch", "main")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "Start the shop")
    return root


@pytest.fixture
def double() -> Iterator[RailwayDouble]:
    """A platform on which nothing was deployed yet."""
    with RailwayDouble() as running:
        yield running


@pytest.fixture
def shop(
    repository: Path,
    double: RailwayDouble,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Shop]:
    """The repository beside its platform, on which release 4 serves after release 3, of the very same migrations."""
    revision = git(repository, "rev-parse", "HEAD")
    double.serve_release(3, OLDER, revision=revision)
    double.serve_release(4, OLD, revision=revision)
    for name in [name for name in os.environ if name.startswith(("FAIRLEAD_", "RAILWAY_", "GITHUB_", "COVERAGE_"))]:
        if name != "FAIRLEAD_TEST_DATABASE_URL":
            monkeypatch.delenv(name)
    environ = {
        "RAILWAY_TOKEN": TOKEN,
        "PYTHONPATH": str(Path(fairlead.__file__).parents[1]),
        "FAIRLEAD_STATE_DIRECTORY": str(tmp_path / "state"),
        "FAIRLEAD_ENVIRONMENTS_STAGING_URL": double.public_url,
        "FAIRLEAD_ENVIRONMENTS_STAGING_API_URL": double.api_url,
    }
    made = Shop(repository, tmp_path / "state", double, environ, capsys, monkeypatch, revision)
    yield made
    for process in made.started:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()


#: What a deploy waits for, by the names of its constants: seconds where they are half minutes.
_WAITS: dict[str, Any] = {
    "CONFIRMED_IN": 3.0,
    "REPLACED_IN": 0.3,
    "_SILENT_FOR": 2.0,
    "_BEGUN_IN": 2.0,
    "_TAKEN_IN": 1.0,
    "_PAUSE": 1.0,
    "_RAILWAY_STEPS": (1, 1),
}


@pytest.fixture
def production(shop: Shop) -> Iterator[RailwayDouble]:
    """A second platform, on which release 4 serves too."""
    with RailwayDouble() as running:
        running.serve_release(4, OLD, revision=shop.head)
        shop.environ |= {f"{PRODUCTION}URL": running.public_url, f"{PRODUCTION}API_URL": running.api_url}
        yield running


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what a deploy waits for take seconds where it takes half minutes."""
    modules = [
        importlib.import_module(found.name) for found in pkgutil.iter_modules(deploy.__path__, "fairlead.deploy.")
    ]
    for name, wait in _WAITS.items():
        having = [module for module in modules if hasattr(module, name)]
        assert having, f"no module of fairlead.deploy has a {name} any more"
        for module in having:
            monkeypatch.setattr(module, name, wait)
    monkeypatch.setattr(target, "RailwayClient", ImpatientClient)
