"""The settings of a Railway service: what is declared, how that differs from what is live, and both files of them.

Nothing here asks the platform; the names of settings are Railway's.

Source: https://docs.railway.com/config-as-code/reference, https://docs.railway.com/infrastructure-as-code and the
package `railway-sdk` 0.7.0.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fairlead._procfile import WEB
from fairlead.config import Config, EnvironmentConfig
from fairlead.exceptions import ConfigurationError
from fairlead.railway.models import SERVICE_SETTINGS, ServiceInstance

#: What Railway does where a setting was never made.
_DEFAULTS: Final[Mapping[str, Any]] = {
    "healthcheckTimeout": 300,
    "overlapSeconds": 0,
    "drainingSeconds": 0,
    "numReplicas": 1,
    "dockerfilePath": "Dockerfile",
    "sleepApplication": False,
}
#: Where a command stands in what Railway makes of `preDeployCommand`, which is JSON of no fixed form.
_COMMAND_KEYS: Final = ("cmd", "command")
_PARTIAL_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting that is not as declared; both values in one form, with Railway's default where nothing is set."""

    name: str
    declared: Any
    live: Any

    @property
    def sentence(self) -> str:
        """The difference in words."""
        return f"{self.name} is {render_value(self.live)} and should be {render_value(self.declared)}"


def declare(config: Config, *, kind: str = WEB, start_command: str | None = None) -> Mapping[str, Any]:
    """Return what the configuration declares for a `kind` of service; what it does not mention is not there.

    Health check, pre-deploy command and the declared start command are the web's. `start_command` is the kind's line of
    the Procfile: how any other kind starts, and the web where nothing is declared.
    """
    railway = config.railway
    web: dict[str, Any] = {
        "startCommand": railway.start_command or start_command,
        "preDeployCommand": list(railway.pre_deploy_command) or None,
        "healthcheckPath": railway.healthcheck_path or config.health_path,
        "healthcheckTimeout": railway.healthcheck_timeout,
    }
    every: dict[str, Any] = {
        "overlapSeconds": railway.overlap_seconds,
        "drainingSeconds": railway.draining_seconds,
        "numReplicas": railway.replicas,
        "restartPolicyType": railway.restart_policy,
        "restartPolicyMaxRetries": railway.restart_retries,
        "dockerfilePath": railway.dockerfile_path,
        "sleepApplication": railway.sleep,
    }
    found = {**(web if kind == WEB else {"startCommand": start_command}), **every}
    return {name: found[name] for name in SERVICE_SETTINGS if found.get(name) is not None}


def compare(declared: Mapping[str, Any], live: ServiceInstance) -> tuple[Difference, ...]:
    """Return the declared settings that are not live, in order; settings that nobody declared are not looked at."""
    pairs = (
        (name, _normalise(name, value), _normalise(name, live.settings.get(name))) for name, value in declared.items()
    )
    return tuple(Difference(name, wanted, found) for name, wanted, found in pairs if wanted != found)


def make_update(differences: Iterable[Difference]) -> Mapping[str, Any]:
    """Return what `serviceInstanceUpdate` is to be given for these differences to end."""
    return {one.name: one.declared for one in differences}


def render_value(value: Any) -> str:
    """Return a setting's value as a person reads it."""
    if isinstance(value, list):
        return "; ".join(map(str, value)) or "not set"
    return "not set" if value is None else json.dumps(value) if isinstance(value, bool) else str(value)


def render_json(config: Config) -> str:
    """Return the text of `railway.json`: the web's settings, which the local platform reads as well.

    Railway takes seconds and counts as numbers there, never as texts.
    """
    declared = declare(config)
    build = _take_build(declared)
    return (
        json.dumps(
            {
                "$schema": "https://railway.com/railway.schema.json",
                **({"build": build} if build else {}),
                "deploy": _take_deploy(declared),
            },
            indent=2,
            ensure_ascii=False,
        )
        + "\n"
    )


def render_program(
    config: Config,
    environment: EnvironmentConfig,
    *,
    processes: Mapping[str, str],
    variables: Mapping[str, Collection[str]],
) -> str:
    """Return the text of `.railway/railway.py`, a program for `railway-sdk`: every service of an environment.

    `processes` are the commands of the Procfile. `variables` are the names of each kind's variables, which the program
    has Railway keep: `railway config apply` deletes a variable that the program does not name. The program is a named
    partial, so that databases and whatever else the project holds are left alone. Raises `ConfigurationError` for a
    name that no partial may have.
    """
    if not _PARTIAL_NAME.fullmatch(config.name):
        raise ConfigurationError(
            f"{config.name!r} cannot name a part of a Railway project",
            hint="tool.fairlead.name: at most 64 of the letters a to z, digits, '.', '_' and '-'",
        )
    services = environment.services or {WEB: config.name}
    blocks = [
        _render_service(name, declare(config, kind=kind, start_command=processes.get(kind)), variables.get(kind, ()))
        for kind, name in sorted(services.items(), key=lambda item: item[0] != WEB)
    ]
    resources = "".join(f"            {block},\n" for block in blocks)
    used = (
        "define_railway, preserve, project, service" if any(variables.values()) else "define_railway, project, service"
    )
    return _PROGRAM.format(name=_literal(config.name), used=used, resources=resources)


_PROGRAM: Final = '''\
"""Railway's settings, written by `invoke railway.config --format program` from [tool.fairlead.railway].

Look at `railway config plan` before `railway config apply`: a variable, volume or TCP proxy of a service below that is
not named here would be removed.
"""

from railway_sdk import {used}

# This file owns the services below; databases and whatever else the project holds stay as they are.
PARTIAL = {name}


@define_railway
def main(ctx=None):
    return project(
        {name},
        resources=[
{resources}        ],
    )
'''


def _render_service(name: str, declared: Mapping[str, Any], variables: Collection[str]) -> str:
    build, deploy = _take_build(declared), _take_deploy(declared)
    fields = {
        "build": _literal_table(build, _literal) if build else None,
        "deploy": _literal_table(deploy, _literal),
        "env": _literal_table(dict.fromkeys(sorted(variables)), lambda _: "preserve()") if variables else None,
    }
    lines = "".join(f"                {field}={text},\n" for field, text in fields.items() if text)
    return f"service(\n                {_literal(name)},\n{lines}            )"


def _literal_table(table: Mapping[str, Any], literal: Callable[[Any], str]) -> str:
    entries = "".join(f"                    {_literal(key)}: {literal(value)},\n" for key, value in table.items())
    return f"{{\n{entries}                }}"


def _literal(value: Any) -> str:
    """Return a value as Python writes it; a text as JSON does, which Python reads the same."""
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _take_build(declared: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file says of the build, where a Dockerfile is named."""
    path = declared.get("dockerfilePath")
    return {"builder": "DOCKERFILE", "dockerfilePath": path} if path else {}


def _take_deploy(declared: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in declared.items() if name != "dockerfilePath"}


def _normalise(name: str, value: Any) -> Any:
    """Return a value in the one form that it is compared in."""
    if name == "preDeployCommand":
        return _read_commands(value)
    if isinstance(value, str):
        value = value.strip() or None
    if name == "dockerfilePath" and value is not None:
        value = str(value).removeprefix("./").removeprefix("/")
    return _DEFAULTS.get(name) if value is None else value


def _read_commands(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str):
        return [value.strip()] if value.strip() else []
    if isinstance(value, Mapping):
        return _read_commands(next((value[key] for key in _COMMAND_KEYS if key in value), json.dumps(dict(value))))
    return (
        [command for item in value for command in _read_commands(item)]
        if isinstance(value, list | tuple)
        else [str(value)]
    )
