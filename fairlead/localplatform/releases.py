"""Reads what a bundle says about how it is run, and assembles the variables that it runs with."""

import json
import shlex
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fairlead import _procfile, build
from fairlead._procfile import FILE as PROCFILE
from fairlead._procfile import WEB
from fairlead.config import Config
from fairlead.exceptions import PlatformError

#: The environment of the configuration that the local platform is.
ENVIRONMENT: Final = "local"
RAILWAY_FILE: Final = "railway.json"
LOCK: Final = "requirements.txt"
_RESTART_POLICIES: Final = ("ON_FAILURE", "ALWAYS", "NEVER")
_DEFAULT_RETRIES: Final = 10
#: What a release may see of the environment of whoever started the platform.
_INHERITED: Final = frozenset(
    {
        "HOME",
        "LANG",
        "LANGUAGE",
        "TZ",
        "TMPDIR",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
    }
)
#: What installing packages may need besides: proxies, indexes and caches.
_INHERITED_BY_BUILDS: Final = frozenset({"NETRC", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"})
#: What has coverage measure a process; the platform is a part of Fairlead, and measured by its tests.
_MEASURING: Final = frozenset({"COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"})
#: What approves a deploy is no affair of what runs it.
_APPROVALS: Final = frozenset({"FAIRLEAD_APPROVAL", "FAIRLEAD_APPROVAL_KEY"})
_PROXIES: Final = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"})
_DEFAULT_PATH: Final = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True)
class Plan:
    """How one release is run. Times are in seconds; `digest` is what its version endpoint must answer with.

    One that answers no requests (a worker) has no `health_path` and no `digest`: it must only stay alive.
    """

    start_command: str
    pre_deploy_commands: tuple[str, ...]
    health_path: str | None
    health_timeout: float
    restart_policy: str
    restarts: int
    digest: str | None


@dataclass(frozen=True, slots=True)
class Identity:
    """The names that Railway gives a release in `RAILWAY_…` variables."""

    project_id: str
    environment_id: str
    environment_name: str
    service_id: str
    service_name: str
    public_domain: str


def service_names(config: Config) -> Mapping[str, str]:
    """Return the name of each kind of service that releases run as, the web first."""
    declared = config.environment(ENVIRONMENT).services
    others = {kind: name for kind, name in declared.items() if kind != WEB}
    return {WEB: declared.get(WEB) or config.name, **others}


def read_plan(folder: Path, config: Config, *, kind: str = WEB) -> Plan:
    """Read the plan of the release unpacked in `folder`: railway.json first, then the Procfile, then the configuration.

    A `kind` other than the web is started by its line of the Procfile, and nothing runs before it: migrations belong
    to the web, which is deployed first. Raises `PlatformError` when a file cannot be understood or nothing says how
    to start.
    """
    deploy = _read_railway(folder)
    if kind != WEB:
        return _read_plain_plan(folder, config, kind, _restarts(deploy))
    start = _text(deploy, "startCommand") or read_procfile(folder).get(WEB)
    if not start:
        raise PlatformError(
            f"the bundle does not say how to start: no deploy.startCommand in {RAILWAY_FILE}, no `web:` in {PROCFILE}",
            hint=f"write a {PROCFILE} with a line such as: web: uvicorn app.main:app --host 0.0.0.0 --port $PORT",
        )
    policy, retries = _restarts(deploy)
    wanted = _number(deploy, "healthcheckTimeout")
    longest = config.platform.health_timeout
    return Plan(
        start_command=start,
        pre_deploy_commands=_commands(deploy, "preDeployCommand"),
        health_path=_text(deploy, "healthcheckPath") or config.health_path,
        health_timeout=longest if wanted is None else min(wanted, longest),
        restart_policy=policy,
        restarts=retries,
        digest=read_digest(folder),
    )


def _read_plain_plan(folder: Path, config: Config, kind: str, restarts: tuple[str, int]) -> Plan:
    start = read_procfile(folder).get(kind)
    if not start:
        raise PlatformError(
            f"the bundle does not say how to start the service {kind}: no `{kind}:` in {PROCFILE}",
            hint=f"add the line, or take {kind} out of [tool.fairlead.environments.local] services",
        )
    return Plan(
        start_command=start,
        pre_deploy_commands=(),
        health_path=None,
        health_timeout=config.platform.health_timeout,
        restart_policy=restarts[0],
        restarts=restarts[1],
        digest=None,
    )


def _restarts(deploy: Mapping[str, Any]) -> tuple[str, int]:
    policy = _text(deploy, "restartPolicyType") or _RESTART_POLICIES[0]
    if policy not in _RESTART_POLICIES:
        known = ", ".join(_RESTART_POLICIES)
        raise PlatformError(f"{RAILWAY_FILE}: deploy.restartPolicyType must be one of {known}, not {policy!r}")
    retries = _number(deploy, "restartPolicyMaxRetries")
    return policy, _DEFAULT_RETRIES if retries is None else int(retries)


def read_procfile(folder: Path) -> Mapping[str, str]:
    """Read a release's Procfile: command by process type; empty when there is none."""
    try:
        return _procfile.parse((folder / PROCFILE).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise PlatformError(f"the bundle's {PROCFILE} cannot be read: {error}") from None


def read_digest(folder: Path) -> str | None:
    """Return the digest in a release's build-info.json; None when it has none."""
    try:
        digest = json.loads((folder / build.FILE).read_text("utf-8"))["digest"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PlatformError(f"the bundle's {build.FILE} cannot be understood: {error}") from None
    return digest if isinstance(digest, str) and digest else None


def make_shell_command(command: str) -> tuple[str, ...]:
    """Return the arguments that run a command line by the shell, which makes way when it is one lone command."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:
        words = []
    operators = any(word and set(word) <= set("();<>|&") and not set(word) <= set("<>") for word in words)
    assigns = bool(words) and "=" in words[0]
    lone = bool(words) and not operators and not assigns and "\n" not in command
    return ("/bin/sh", "-c", f"exec {command}" if lone else command)


def make_variables(
    config: Config,
    *,
    identity: Identity,
    deployment_id: str,
    environment: Path,
    port: int,
    database_url: str,
    secrets: Mapping[str, str],
    declared: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Assemble the whole environment of a release; nothing else of the caller's gets in.

    Variables that are `declared`, by the configuration unless they are given, win over generated secrets, and the
    platform's own over both.
    """
    declared = config.environment(ENVIRONMENT).variables if declared is None else declared
    return {
        **_inherit(config.environ, _INHERITED),
        "PYTHONUNBUFFERED": "1",
        **secrets,
        **declared,
        "PATH": f"{environment / 'bin'}:{config.environ.get('PATH') or _DEFAULT_PATH}",
        "VIRTUAL_ENV": str(environment),
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "DATABASE_URL": declared.get("DATABASE_URL") or database_url,
        "RAILWAY_PROJECT_ID": identity.project_id,
        "RAILWAY_ENVIRONMENT_ID": identity.environment_id,
        "RAILWAY_ENVIRONMENT_NAME": identity.environment_name,
        "RAILWAY_SERVICE_ID": identity.service_id,
        "RAILWAY_SERVICE_NAME": identity.service_name,
        "RAILWAY_DEPLOYMENT_ID": deployment_id,
        "RAILWAY_PUBLIC_DOMAIN": identity.public_domain,
    }


def make_build_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Assemble the environment that packages are installed in."""
    kept = {name: value for name, value in environ.items() if name.startswith("UV_") or name.upper() in _PROXIES}
    base = {**_inherit(environ, _INHERITED | _INHERITED_BY_BUILDS), **_trust(ssl.get_default_verify_paths())}
    return {**base, **kept, "PATH": environ.get("PATH") or _DEFAULT_PATH, "UV_NO_PROGRESS": "1", "NO_COLOR": "1"}


def _trust(paths: ssl.DefaultVerifyPaths) -> dict[str, str]:
    """Let uv accept the certificates that this machine accepts, as pip does: a company's proxy has one of its own."""
    known = paths.cafile or (paths.capath and any(Path(paths.capath).iterdir()))
    return {"UV_SYSTEM_CERTS": "true"} if known else {}


def make_daemon_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Assemble the platform's own environment: what builds and releases may see, and Fairlead's settings."""
    settings = {
        name: value
        for name, value in environ.items()
        if (name.startswith("FAIRLEAD_") and name not in _APPROVALS) or name in _MEASURING
    }
    return {**make_build_variables(environ), **settings}


def _inherit(environ: Mapping[str, str], names: frozenset[str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name in names or name.startswith("LC_")}


def _read_railway(folder: Path) -> Mapping[str, Any]:
    try:
        document = json.loads((folder / RAILWAY_FILE).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise PlatformError(f"the bundle's {RAILWAY_FILE} is not valid JSON: {error}") from None
    deploy = document.get("deploy", {}) if isinstance(document, dict) else None
    if not isinstance(deploy, dict):
        raise PlatformError(f"the bundle's {RAILWAY_FILE} must be an object whose `deploy` is an object")
    return deploy


def _text(table: Mapping[str, Any], key: str) -> str | None:
    value = table.get(key)
    if value is not None and not isinstance(value, str):
        raise PlatformError(f"{RAILWAY_FILE}: deploy.{key} must be a text, not {value!r}")
    return value.strip() or None if value is not None else None


def _number(table: Mapping[str, Any], key: str) -> float | None:
    value = table.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise PlatformError(f"{RAILWAY_FILE}: deploy.{key} must be a number of at least 0, not {value!r}")
    return float(value)


def _commands(table: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = table.get(key)
    if value is None:
        return ()
    commands = [value] if isinstance(value, str) else value
    if not isinstance(commands, list) or not all(isinstance(command, str) for command in commands):
        raise PlatformError(f"{RAILWAY_FILE}: deploy.{key} must be a text or a list of texts, not {value!r}")
    return tuple(command.strip() for command in commands if command.strip())
