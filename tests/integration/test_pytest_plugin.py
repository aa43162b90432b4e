"""The fixtures as another team's test-suite uses them: a pytest of its own, in a repository of its own."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from fairlead._polling import wait_until
from fairlead.postgres import Databases, ExternalServer, temporary_server
from fairlead.postgres.account import pick_account
from fairlead.postgres.ownership import is_server
from fairlead.postgres.server import choose_port
from fairlead.postgres.temporary import choose_place

ROOT = Path(__file__).parents[2]
SUITE = """
    import psycopg
    import pytest

    def ask(url, statement="SELECT count(*) FROM notes"):
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchone()[0] if cursor.description else None

    @pytest.mark.parametrize("number", [1, 2, 3])
    def test_shared_database_is_migrated_and_keeps_what_tests_write(database_url, number):
        before = ask(database_url)
        ask(database_url, "INSERT INTO notes DEFAULT VALUES")
        assert ask(database_url) == before + 1

    @pytest.mark.parametrize("number", [1, 2])
    def test_migrated_database_is_this_test_s_alone(migrated_database_url, number):
        assert ask(migrated_database_url) == 0
        ask(migrated_database_url, "INSERT INTO notes DEFAULT VALUES")

    @pytest.mark.parametrize("number", [1, 2])
    def test_fresh_database_is_empty(fresh_database_url, number):
        ask(fresh_database_url, "CREATE TABLE notes ()")

    def test_databases_differ(database_url, migrated_database_url, fresh_database_url):
        assert len({database_url, migrated_database_url, fresh_database_url}) == 3
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text('[tool.fairlead]\n[tool.fairlead.migrations]\ndirectory = "db"\n')
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "001_notes.sql").write_text("CREATE TABLE notes (id int GENERATED ALWAYS AS IDENTITY);")
    (tmp_path / "test_suite.py").write_text("\n".join(line[4:] for line in SUITE.splitlines()))
    return tmp_path


def run_pytest(repository: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    with start_pytest(repository, *arguments, **variables) as run:
        stdout, stderr = run.communicate(timeout=300)
    return subprocess.CompletedProcess(run.args, run.returncode, stdout, stderr)


def start_pytest(repository: Path, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_CORE_"))}
    inherited.pop("FAIRLEAD_TEST_DATABASE_URL", None)
    # Other plugins that are installed here take longer to load than the suite takes, in each of its processes.
    inherited["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    plugins = ["-p", "fairlead.pytest_plugin", "-p", "xdist", "-p", "no:cacheprovider"]
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", *plugins, *arguments],
        cwd=repository,
        env={**inherited, "PYTHONPATH": str(ROOT), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.fixture(scope="module", params=["embedded", "Debian's 15"])
def given_server(request: pytest.FixtureRequest) -> Iterator[Databases]:
    """A server for FAIRLEAD_TEST_DATABASE_URL that no other test uses, so that what is left on it can be counted."""
    with temporary_server() if request.param == "embedded" else foreign_server() as server:
        yield server


@contextmanager
def foreign_server() -> Iterator[Databases]:
    """The system's PostgreSQL as a distribution or a CI service sets it up: with a language, and a time zone."""
    programs = Path("/usr/lib/postgresql/15/bin")
    if not (programs / "initdb").exists():
        pytest.skip(f"there is no other PostgreSQL in {programs}")
    account = pick_account()
    user = {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}
    folder = Path(tempfile.mkdtemp(prefix="fairlead-foreign-", dir=choose_place()))
    try:
        if account:
            os.chown(folder, account.uid, account.gid)
        data, port = folder / "data", choose_port()
        initdb = [programs / "initdb", "-D", data, "-U", "ci", "--auth=trust", "--encoding=UTF8", "--no-sync"]
        options = ["--locale-provider=icu", "--icu-locale=de-DE", "--text-search-config=german"]
        subprocess.run([*initdb, *options], cwd=folder, capture_output=True, check=True, **user)
        settings = (
            "fsync=off",
            "timezone=Asia/Tokyo",
            "datestyle=German",
            f"port={port}",
            f"unix_socket_directories={folder}",
        )
        argv = [programs / "postgres", "-D", data, *(word for each in settings for word in ("-c", each))]
        with subprocess.Popen(argv, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **user) as child:
            try:
                server = ExternalServer(f"postgresql://ci@127.0.0.1:{port}/postgres")
                wait_until(lambda _remaining: answers(server), timeout=60, what="the server", interval=0.02)
                yield server
            finally:
                child.send_signal(signal.SIGINT)
    finally:
        shutil.rmtree(folder)


def answers(server: Databases) -> bool | None:
    try:
        psycopg.connect(server.url()).close()
    except psycopg.OperationalError:
        return None
    return True


def list_databases(server: Databases) -> list[str]:
    with psycopg.connect(server.url()) as connection:
        rows = connection.execute(
            "SELECT datname FROM pg_database WHERE NOT starts_with(datname, 'fairlead_template_') ORDER BY 1"
        ).fetchall()
    return [row[0] for row in rows]


@pytest.mark.parametrize("arguments", [[], ["-n", "2"], ["-n", "4"]], ids=["alone", "2 workers", "4 workers"])
def test_suite_passes_alone_and_on_several_workers(repository: Path, arguments: list[str]) -> None:
    done = run_pytest(repository, "-W", "error", *arguments)
    assert "8 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("given_server", "arguments"),
    [("embedded", []), ("embedded", ["-n", "2"]), ("Debian's 15", []), ("Debian's 15", ["-n", "4"])],
    indirect=["given_server"],
    ids=["embedded, alone", "embedded, 2 workers", "Debian's 15, alone", "Debian's 15, 4 workers"],
)
def test_given_server_is_used_and_left_as_it_was(
    repository: Path, given_server: Databases, arguments: list[str]
) -> None:
    before = list_databases(given_server)
    address = given_server.url().replace("postgresql://", "postgres://", 1)
    done = run_pytest(repository, *arguments, FAIRLEAD_TEST_DATABASE_URL=address)
    assert "8 passed" in done.stdout, done.stdout + done.stderr
    assert list_databases(given_server) == before


RESULTS = """
import psycopg
import pytest

ASKED = {
    "order": "SELECT string_agg(word, ' ' ORDER BY word) FROM (VALUES ('b'), ('B'), ('a'), ('_'), ('ä')) AS v (word)",
    "case": "SELECT upper('straße äöü') || lower('ÄÖÜ')",
    "search": "SELECT to_tsvector('the cats are running')::text",
    "time": "SELECT timestamptz '2026-01-02 03:04:05+00'::text || date '2026-01-02'::text",
    "encoding": "SHOW server_encoding",
    "extensions": "SELECT string_agg(extname, ' ') FROM pg_extension",
    "error": "SELECT 1 / 0",
}

@pytest.mark.parametrize("name", ["database_url", "migrated_database_url", "fresh_database_url"])
def test_it(request, name):
    address = request.getfixturevalue(name)
    with open("results.txt", "a", encoding="utf-8") as file, psycopg.connect(address, autocommit=True) as connection:
        for what, statement in ASKED.items():
            try:
                answer = connection.execute(statement).fetchone()[0]
            except psycopg.Error as error:
                answer = f"{error.sqlstate} {error.diag.message_primary}"
            print(name, what, answer, file=file)
"""


def test_given_server_gives_the_results_of_the_embedded_one(repository: Path, given_server: Databases) -> None:
    (repository / "test_suite.py").write_text(RESULTS)
    results = []
    for variables in ({}, {"FAIRLEAD_TEST_DATABASE_URL": given_server.url()}):
        done = run_pytest(repository, **variables)
        assert "3 passed" in done.stdout, done.stdout + done.stderr
        results.append((repository / "results.txt").read_text("utf-8").splitlines())
        (repository / "results.txt").unlink()
    assert results[0] == results[1]
    assert len(results[0]) == 21


SHARED = """
import os
import signal
import time
from pathlib import Path

import psycopg
import pytest

@pytest.mark.parametrize("number", range(8))
def test_it(database_url, number, worker_id):
    with psycopg.connect(database_url) as connection:
        folder, = connection.execute("SHOW data_directory").fetchone()
    Path(f"seen-{number}").write_text(f"{folder} {worker_id} {database_url}")
    time.sleep(0.1)  # each worker has its part
"""
KILLED = """    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
"""
ENDLESS = """    Path("started").touch()
    time.sleep(60)
"""


def read_seen(repository: Path) -> list[tuple[str, str, str]]:
    """Return the server's folder, the worker and its database, of each test that ran."""
    seen = (file.read_text().split() for file in repository.glob("seen-*"))
    return [(folder, worker, address) for folder, worker, address in seen]


@pytest.mark.parametrize(
    ("workers", "end"),
    [(2, ""), (4, ""), (2, KILLED)],
    ids=["2 workers", "4 workers", "2 workers, one of which is killed"],
)
def test_workers_share_a_server_that_is_gone_after_the_run(repository: Path, workers: int, end: str) -> None:
    (repository / "test_suite.py").write_text(SHARED + end)
    done = run_pytest(repository, "-n", str(workers))
    assert ("1 failed, 7 passed" if end else "8 passed") in done.stdout, done.stdout + done.stderr
    seen = read_seen(repository)
    assert len({worker for _, worker, _ in seen}) >= workers
    assert len({address for _, _, address in seen}) == len({worker for _, worker, _ in seen})
    (folder,) = {folder for folder, _, _ in seen}
    assert not Path(folder).parent.exists()
    assert servers_on(folder) == []


def test_interrupted_run_leaves_no_server(repository: Path) -> None:
    (repository / "test_suite.py").write_text(SHARED + ENDLESS)
    with start_pytest(repository, "-n", "2") as run:
        wait_until(lambda _remaining: (repository / "started").exists() or None, timeout=120, what="a test")
        os.killpg(run.pid, signal.SIGINT)
        run.communicate(timeout=120)
    assert run.returncode == pytest.ExitCode.INTERRUPTED
    (folder,) = {folder for folder, _, _ in read_seen(repository)}
    assert not Path(folder).parent.exists()
    assert servers_on(folder) == []


def test_run_killed_with_its_workers_is_swept_by_the_next(repository: Path) -> None:
    (repository / "test_suite.py").write_text(SHARED + ENDLESS)
    with start_pytest(repository, "-n", "2") as run:
        wait_until(lambda _remaining: (repository / "started").exists() or None, timeout=120, what="a test")
        os.killpg(run.pid, signal.SIGKILL)
    (folder,) = {folder for folder, _, _ in read_seen(repository)}
    with temporary_server():
        assert not Path(folder).parent.exists()
        assert servers_on(folder) == []


def test_run_without_a_database_starts_no_server(repository: Path) -> None:
    (repository / "test_suite.py").write_text(
        "import sys\n\ndef test_it():\n    assert 'fairlead.postgres' not in sys.modules\n"
    )
    (repository / "conftest.py").write_text(
        "import sys\n\ndef pytest_unconfigure(config):\n    assert 'fairlead.postgres' not in sys.modules\n"
    )
    done = run_pytest(repository, "-n", "2")
    assert (done.returncode, "1 passed" in done.stdout) == (0, True), done.stdout + done.stderr


def servers_on(folder: str) -> list[int]:
    """Return the processes that run a server on `folder`."""
    numbers = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [number for number in numbers if is_server(number, Path(folder))]


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("db/001_notes.sql", "CREATE TABEL notes ();", "001_notes.sql:1:8: syntax error"),
        ("db/notes.sql", "SELECT 1;", "notes.sql: does not fit the convention"),
        ("pyproject.toml", "", "has no [tool.fairlead] table"),
    ],
)
def test_what_is_wrong_with_the_migrations_is_told_without_a_traceback(
    repository: Path, file: str, content: str, told: str
) -> None:
    (repository / file).write_text(content)
    done = run_pytest(repository, "-k", "migrated")
    assert done.returncode == 1
    assert told in done.stdout
    assert "Traceback" not in done.stdout
    assert "pytest_plugin.py" not in done.stdout


def test_unreachable_server_is_told_without_its_password(repository: Path) -> None:
    done = run_pytest(repository, "-k", "fresh", FAIRLEAD_TEST_DATABASE_URL="postgresql://u:hush-hush@127.0.0.1:1/x")
    assert done.returncode == 1
    assert "refused" in done.stdout
    assert "hush-hush" not in done.stdout + done.stderr


def test_empty_database_needs_no_configuration(repository: Path) -> None:
    (repository / "pyproject.toml").unlink()
    done = run_pytest(repository, "-k", "fresh")
    assert "2 passed" in done.stdout, done.stdout


ROLLED_BACK = """
import psycopg
import pytest

@pytest.mark.parametrize("number", [1, 2])
def test_work_is_rolled_back(database, number):
    assert database.execute("SELECT count(*) FROM notes").fetchone() == (0,)
    with database.transaction():
        database.execute("INSERT INTO notes DEFAULT VALUES")
    assert database.execute("SELECT count(*) FROM notes").fetchone() == (1,)

def test_commit_is_refused(database):
    with pytest.raises(psycopg.ProgrammingError):
        database.commit()

def test_failed_statement_harms_no_other_test(database):
    with pytest.raises(psycopg.errors.DivisionByZero):
        database.execute("SELECT 1 / 0")

def test_connection_may_be_closed(database):
    database.close()
"""


def test_work_on_the_database_fixture_is_rolled_back_after_each_test(repository: Path, fresh_database_url: str) -> None:
    (repository / "test_suite.py").write_text(ROLLED_BACK)
    done = run_pytest(repository, "-W", "error", FAIRLEAD_TEST_DATABASE_URL=fresh_database_url)
    assert "5 passed" in done.stdout, done.stdout + done.stderr


def test_commit_sent_as_sql_is_told_with_what_to_use_instead(repository: Path, fresh_database_url: str) -> None:
    (repository / "test_suite.py").write_text("def test_it(database):\n    database.execute('COMMIT')\n")
    done = run_pytest(repository, FAIRLEAD_TEST_DATABASE_URL=fresh_database_url)
    assert done.returncode == 1
    assert "1 passed, 1 error" in done.stdout, done.stdout
    assert "migrated_database_url" in done.stdout
