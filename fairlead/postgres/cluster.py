"""A cluster's folder: where it really lies, its password, and how it is made whole or not at all.

```
<home>/owner.lock   held by the owner        <home>/data/        PostgreSQL's own folder
<home>/password     0600                     <home>/socket/      private
<home>/port         the last one used        <home>/server.log   what the server said
```

The home is the wanted folder, unless the server's user cannot reach that: then it lies in a shared place, and a file
`location` in the wanted folder points there. A home that nothing points to any more is removed by the next start.
"""

import base64
import contextlib
import hashlib
import hmac
import os
import secrets
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fairlead import _process
from fairlead.exceptions import CommandError, PlatformError
from fairlead.postgres.account import Account, reaches
from fairlead.postgres.binaries import MAJOR_VERSION, Binaries
from fairlead.postgres.ownership import LOCK_FILE, OwnerLock, end_orphan
from fairlead.postgres.templates import choose_cache, copy_template, keep_template, make_key, sync_tree

USER = "postgres"
SHARED_HOMES = Path("/var/lib/fairlead")
NEEDED_SPACE = 128 * 1024 * 1024
#: Nothing of the caller's environment, which may hold secrets, reaches the server. A fixed zone spares a long search.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}

_POINTER = "location"
_ORIGIN = "origin"
_SOCKETS = "sockets"
_SOCKET_PREFIX = "fairlead-"
_SOCKET_LIMIT = 100
_ITERATIONS = 4096
#: What slows down the guessing of a password that somebody thought of takes 4 ms of each connection, and is wasted on a
#: random one. Only on servers that are thrown away: some clients refuse fewer than the usual number.
_FEW_ITERATIONS = 1


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster's home and the user that its server runs as."""

    home: Path
    account: Account | None

    @property
    def data(self) -> Path:
        """PostgreSQL's own folder."""
        return self.home / "data"

    @property
    def lock_file(self) -> Path:
        """The file that the owner holds."""
        return self.home / LOCK_FILE

    def read_password(self) -> str:
        """Return the password of the superuser."""
        try:
            return (self.home / "password").read_text("utf-8")
        except FileNotFoundError:
            raise PlatformError(
                f"the password of the PostgreSQL in {self.home} is missing", hint=f"remove {self.home} to begin anew"
            ) from None

    def make_folder(self, name: str) -> Path:
        """Make a private folder of the server's user within the home."""
        folder = self.home / name
        folder.mkdir(mode=0o700, exist_ok=True)
        give(folder, self.account)
        return folder

    def make_socket_folder(self) -> Path:
        """Make the private folder of the server's socket: in the home, or in /tmp where that path is too long."""
        remove_sockets(self.home)
        if len(os.fsencode(self.home / "socket" / ".s.PGSQL.65535.lock")) <= _SOCKET_LIMIT:
            return self.make_folder("socket")
        folder = Path(tempfile.mkdtemp(prefix=_SOCKET_PREFIX, dir="/tmp"))  # nosec B108 - a short path
        (self.home / _SOCKETS).write_text(f"{folder}\n", "utf-8")
        give(folder, self.account)
        return folder


def remove_sockets(home: Path) -> None:
    """Remove the folder outside the home that its server's socket was in, if there was one."""
    with contextlib.suppress(FileNotFoundError):
        folder = Path((home / _SOCKETS).read_text("utf-8").strip())
        if folder.name.startswith(_SOCKET_PREFIX) and not folder.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)
        (home / _SOCKETS).unlink()


def locate_cluster(directory: Path, account: Account | None, *, homes: Path = SHARED_HOMES) -> Cluster:
    """Find the cluster that belongs to the wanted `directory`, making that folder where it is missing."""
    directory.mkdir(parents=True, exist_ok=True)
    directory = directory.resolve()
    if account is None:
        return Cluster(directory, None)
    with contextlib.suppress(OSError):
        sweep(homes)
    home = homes / hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    pointer = directory / _POINTER
    if not pointer.exists():
        if reaches(account, directory):
            return Cluster(directory, account)
        pointer.write_text(f"{home}\n", "utf-8")
    elif pointer.read_text("utf-8").strip() != str(home):
        # The folder was moved, or copied from one that still uses its data: it starts with data of its own.
        pointer.write_text(f"{home}\n", "utf-8")
    _make_shared(homes)
    home.mkdir(mode=0o711, exist_ok=True)
    home.chmod(0o711)
    (home / _ORIGIN).write_bytes(os.fsencode(directory))
    return Cluster(home, account)


def sweep(homes: Path) -> None:
    """Remove the homes whose wanted folder is gone, or points elsewhere, and that nobody owns."""
    if not homes.is_dir():
        return
    for home in homes.iterdir():
        with contextlib.suppress(OSError, PlatformError):
            if _is_abandoned(home):
                remove_cluster(home)


def home_of(directory: Path) -> Path:
    """Return where the cluster of the wanted `directory` lies, made already or not yet."""
    try:
        return Path((directory / _POINTER).read_text("utf-8").strip())
    except FileNotFoundError:
        return directory


def remove_data(directory: Path) -> None:
    """Remove the server of the wanted `directory` with all its data, wherever that lies.

    A server left running by an owner that is gone is ended; one that has an owner raises `PlatformError`.
    """
    home = home_of(directory)
    if home.is_dir():
        remove_cluster(home)
    shutil.rmtree(directory, ignore_errors=True)


def remove_cluster(home: Path) -> None:
    """Remove a cluster, ending a server left running on it; raise `PlatformError` when it has an owner."""
    lock = OwnerLock.acquire(home / LOCK_FILE)
    try:
        end_orphan(home / "data")
        remove_sockets(home)
        shutil.rmtree(home)
    finally:
        lock.release()


def initialise(cluster: Cluster, binaries: Binaries, *, durable: bool) -> None:
    """Make the cluster's data unless it is there already, whole or not at all. Only for the holder of its lock."""
    for leftover in cluster.home.glob("new-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    if cluster.data.is_dir():
        _check_version(cluster)
        return
    _check_space(cluster.home)
    staging = cluster.make_folder(f"new-{os.getpid()}")
    try:
        _make_data(cluster, binaries, staging, durable=durable)
        password = secrets.token_urlsafe(24)
        verifier = hash_password(password, iterations=_ITERATIONS if durable else _FEW_ITERATIONS)
        _set_password(cluster, binaries, staging, verifier)
        _write_private(cluster.home / "password", password)
        if durable:
            sync_tree(staging / "data")
        (staging / "data").rename(cluster.data)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def initdb_argv(binaries: Binaries, data: Path, password_file: Path, *, durable: bool) -> list[str]:
    """Build the command that makes a cluster: UTF-8, one collation on every machine, password only."""
    argv = [str(binaries.program("initdb")), f"--pgdata={data}", f"--username={USER}", f"--pwfile={password_file}"]
    argv += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--locale-provider=builtin"]
    argv += ["--builtin-locale=C.UTF-8", "--no-instructions", "--no-sync"]
    return argv if durable else [*argv, "--wal-segsize=1"]


def give(path: Path, account: Account | None) -> None:
    """Make `path` belong to the server's user."""
    if account is not None:
        os.chown(path, account.uid, account.gid)


def _make_data(cluster: Cluster, binaries: Binaries, staging: Path, *, durable: bool) -> None:
    """Make the cluster's data in `staging` with a password that nobody keeps: a copy where there is a template."""
    cache = choose_cache(cluster.account)
    key = make_key(binaries, initdb_argv(binaries, Path(), Path(), durable=durable)[1:])
    data = staging / "data"
    if cache and key and copy_template(cache / key, data, cluster.account):
        return
    password_file = staging / "password"
    _write_private(password_file, secrets.token_urlsafe(24))
    give(password_file, cluster.account)
    _run("initdb", initdb_argv(binaries, data, password_file, durable=durable), staging, cluster)
    if cache and key:
        keep_template(data, cache / key)


def _set_password(cluster: Cluster, binaries: Binaries, staging: Path, verifier: str) -> None:
    """Give the superuser its password, before anybody can connect: by a server of one session, told in a file."""
    statement = staging / "statement"
    _write_private(statement, f"ALTER ROLE {USER} PASSWORD '{verifier}'\n")
    with statement.open("rb") as stdin:
        _run("postgres", single_user_argv(binaries, staging / "data"), staging, cluster, stdin=stdin)


def single_user_argv(binaries: Binaries, data: Path) -> list[str]:
    """Build the command that runs statements from its input on a cluster that no server runs on."""
    argv = [str(binaries.program("postgres")), "--single", "-D", str(data)]
    for setting in ("exit_on_error=on", "fsync=off", "shared_buffers=1MB", "max_connections=5", "io_method=sync"):
        argv += ["-c", setting]
    return [*argv, "-c", "log_min_error_statement=panic", "postgres"]


def hash_password(password: str, *, salt: bytes | None = None, iterations: int = _ITERATIONS) -> str:
    """Return what PostgreSQL keeps of a password: its SCRAM-SHA-256 verifier (RFC 5803)."""
    salt = salt or secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    served = hmac.digest(salted, b"Server Key", "sha256")
    first, second, third = (base64.b64encode(part).decode() for part in (salt, stored, served))
    return f"SCRAM-SHA-256${iterations}:{first}${second}:{third}"


def _run(program: str, argv: list[str], staging: Path, cluster: Cluster, *, stdin: IO[bytes] | None = None) -> None:
    account = cluster.account
    log = staging / f"{program}.log"
    with log.open("wb") as output:
        try:
            child = _process.spawn(
                argv,
                cwd=staging,
                env=ENVIRONMENT,
                output=output,
                stdin=stdin or subprocess.DEVNULL,
                user=account.uid if account else None,
                group=account.gid if account else None,
            )
        except (CommandError, OSError) as error:
            raise PlatformError(f"PostgreSQL's {program} cannot be run: {error}") from error
        try:
            code = child.wait()
        finally:
            _process.terminate(child, grace=1)
    if code != 0:
        said = log.read_text("utf-8", "replace").strip()
        raise failure(f"PostgreSQL's {program} failed in {cluster.home} (exit code {code})", said)


def failure(what: str, said: str, *, hint: str | None = None) -> PlatformError:
    """Build the error for a program of PostgreSQL that failed: the last lines that it said, and what they mean."""
    if "No space left on device" in said:
        hint = "the disk is full: free some space and run this again"
    lines = "\n".join(f"  {line}" for line in said.splitlines()[-12:])
    return PlatformError(f"{what}\n{lines}" if lines else what, hint=hint)


def _check_version(cluster: Cluster) -> None:
    try:
        found = (cluster.data / "PG_VERSION").read_text("utf-8").strip()
    except FileNotFoundError:
        found = ""
    if found != str(MAJOR_VERSION):
        of = f"PostgreSQL {found}'s" if found else "not a PostgreSQL's"
        raise PlatformError(
            f"the data in {cluster.data} is {of}, and this is PostgreSQL {MAJOR_VERSION}",
            hint=f"remove {cluster.home} to begin anew",
        )


def _check_space(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < NEEDED_SPACE:
        need = f"PostgreSQL needs {NEEDED_SPACE // 1_000_000} MB to begin with"
        raise PlatformError(
            f"{folder} has {free // 1_000_000} MB left, and {need}",
            hint="the disk is full: free some space and run this again",
        )


def _is_abandoned(home: Path) -> bool:
    try:
        origin = Path(os.fsdecode((home / _ORIGIN).read_bytes()))
        return (origin / _POINTER).read_text("utf-8").strip() != str(home)
    except FileNotFoundError:
        return (home / _ORIGIN).exists()


def _make_shared(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if folder.stat().st_uid != os.geteuid():
        raise PlatformError(f"{folder} belongs to somebody else", hint=f"remove {folder}")
    folder.chmod(0o755)


def _write_private(file: Path, text: str) -> None:
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
