"""Reads `[tool.fairlead]` and the process environment into one frozen `Config`; nothing else reads either.

Precedence, for each value: flag > `FAIRLEAD_*` variable > file > default. A key's variable is its path in capitals:
`[tool.fairlead.platform] port` is `FAIRLEAD_PLATFORM_PORT`. Every fault found is reported at once, with the file, the
path of the key and the nearest key that exists.
"""

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fairlead._keys import ENVIRONMENT, SECTIONS, TOP, Key
from fairlead._output import passwords_in, redact
from fairlead._sections import (
    BundleConfig,
    CoverageConfig,
    DeployConfig,
    EnvConfig,
    EnvironmentConfig,
    MigrationsConfig,
    PerformanceConfig,
    PlatformConfig,
    RailwayConfig,
    SecurityConfig,
    SecurityException,
    VerifyConfig,
)
from fairlead._values import check, describe, from_text
from fairlead.exceptions import ConfigurationError

__all__ = [
    "BundleConfig",
    "Config",
    "CoverageConfig",
    "DeployConfig",
    "EnvConfig",
    "EnvironmentConfig",
    "MigrationsConfig",
    "PerformanceConfig",
    "PlatformConfig",
    "RailwayConfig",
    "SecurityConfig",
    "SecurityException",
    "VerifyConfig",
    "load",
]

FILE = "pyproject.toml"
PREFIX = "FAIRLEAD_"

#: Variables that begin with the prefix and are not keys of the configuration.
OTHER_VARIABLES = frozenset(
    {
        "FAIRLEAD_TEST_DATABASE_URL",
        "FAIRLEAD_BUILD_NUMBER",
        "FAIRLEAD_DEBUG",
        "FAIRLEAD_APPROVAL",
        "FAIRLEAD_APPROVAL_KEY",
    }
)

#: Variables that hold secrets whatever the configuration says.
_SECRET_VARIABLES = (
    "RAILWAY_TOKEN",
    "RAILWAY_API_TOKEN",
    "FAIRLEAD_APPROVAL_KEY",
    "FAIRLEAD_APPROVAL",
    "GITHUB_TOKEN",
    "VERIFY_PASSWORD",
    "VERIFY_STRIPE_WEBHOOK_SECRET",
)

#: What the names of variables end in that hold secrets by custom. A value shorter than so many letters is masked where
#: the configuration names its variable alone: a password of `postgres` would mask every mention of PostgreSQL.
_SECRET_NAME = re.compile(
    r"(?:TOKEN|SECRET|PASSWORD|PASSPHRASE|(?:API|ACCESS|SECRET|PRIVATE|SIGNING|ENCRYPTION)_?KEY)$"
)
_SHORTEST_GUESSED = 12

_ENVIRONMENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration. Paths are absolute; `sources` says where each key's value came from."""

    root: Path
    name: str
    version: str
    description: str | None
    source: str | None
    backend: Path
    app: str
    health_path: str
    version_path: str
    state_dir: Path
    migrations: MigrationsConfig
    bundle: BundleConfig
    platform: PlatformConfig
    deploy: DeployConfig
    verify: VerifyConfig
    env: EnvConfig
    railway: RailwayConfig
    coverage: CoverageConfig
    performance: PerformanceConfig
    security: SecurityConfig
    environments: Mapping[str, EnvironmentConfig]
    values: Mapping[str, Any] = field(repr=False)
    sources: Mapping[str, str] = field(repr=False)
    environ: Mapping[str, str] = field(repr=False)

    @property
    def in_ci(self) -> bool:
        """True where a machine builds, as those say in the variable CI."""
        return self.environ.get("CI", "").lower() not in {"", "0", "false", "no"}

    def environment(self, name: str) -> EnvironmentConfig:
        """Return the environment called `name`; raise `ConfigurationError` when there is none."""
        if name in self.environments:
            return self.environments[name]
        near = _nearest(name, self.environments)
        known = ", ".join(sorted(self.environments))
        hint = f"did you mean {near}?" if near else f"declare [tool.fairlead.environments.{name}] in {self.root / FILE}"
        raise ConfigurationError(f"there is no environment {name!r}; known: {known}", hint=hint)


_KNOWN_TOP = {*TOP, *SECTIONS, "environments"}


def load(
    root: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Config:
    """Read the configuration of the repository at `root`.

    Without `root`, the nearest folder upwards from the current one that holds a pyproject.toml. `overrides` are values
    from flags by key path (`{"platform.port": 9000}`). Raises `ConfigurationError` with every problem found.
    """
    variables = MappingProxyType(dict(os.environ if environ is None else environ))
    folder = _find_root() if root is None else root.resolve()
    reader = _Reader(folder, _read_table(folder / FILE), variables, dict(overrides or {}))
    top = reader.section("", TOP, known=_KNOWN_TOP)
    sections = {name: reader.section(name, keys) for name, keys in SECTIONS.items()}
    environments = {name: reader.environment(name) for name in reader.environment_names()}
    reader.check_references(environments)
    reader.check_variables()
    _mask_secrets(environments.values(), variables)
    if reader.problems:
        raise _rejected(folder / FILE, reader.problems)
    return Config(
        root=folder,
        state_dir=top.pop("state_directory"),
        **top,
        migrations=MigrationsConfig(**sections["migrations"]),
        bundle=BundleConfig(**sections["bundle"]),
        platform=PlatformConfig(**sections["platform"]),
        deploy=DeployConfig(**sections["deploy"]),
        verify=VerifyConfig(**sections["verify"]),
        env=EnvConfig(**sections["env"]),
        railway=RailwayConfig(**sections["railway"]),
        coverage=CoverageConfig(**sections["coverage"]),
        performance=PerformanceConfig(**sections["performance"]),
        security=SecurityConfig(**sections["security"]),
        environments=MappingProxyType(environments),
        values=MappingProxyType(reader.values),
        sources=MappingProxyType(reader.sources),
        environ=variables,
    )


class _Reader:
    """Takes values from flag, variable, file or default, and collects every problem on the way."""

    def __init__(
        self, root: Path, table: dict[str, Any], environ: Mapping[str, str], overrides: dict[str, Any]
    ) -> None:
        self.root = root
        self.table = table
        self.environ = environ
        self.overrides = overrides
        self.values: dict[str, Any] = {}
        self.sources: dict[str, str] = {}
        self.problems: list[str] = []
        self._variables: set[str] = set()

    def section(self, path: str, keys: Mapping[str, Key], *, known: Iterable[str] | None = None) -> dict[str, Any]:
        table = self._subtable(path)
        names = set(known or keys)
        for name in table:
            if name not in names:
                near = _nearest(name, names)
                advice = f"; did you mean {near}?" if near else f"; known: {', '.join(sorted(names))}"
                self.problems.append(f"{_dotted('tool.fairlead', path, name)}: unknown key{advice}")
        return {name.replace("-", "_"): self._value(path, name, key, table) for name, key in keys.items()}

    def environment_names(self) -> Iterator[str]:
        names: dict[str, str] = {}
        for name in {**self._subtable("environments"), "local": None}:
            path = f"tool.fairlead.environments.{name}"
            twin = names.setdefault(_variable(name), name)
            if not _ENVIRONMENT_NAME.fullmatch(name):
                self.problems.append(f"{path}: the name of an environment holds letters, digits, '-' and '_' only")
            elif twin != name:
                self.problems.append(f"{path}: has the same {PREFIX} variables as {twin}; rename one of them")
            else:
                yield name

    def environment(self, name: str) -> EnvironmentConfig:
        return EnvironmentConfig(name=name, **self.section(f"environments.{name}", ENVIRONMENT))

    def check_references(self, environments: Mapping[str, EnvironmentConfig]) -> None:
        for environment in environments.values():
            source = environment.promote_from
            if isinstance(source, str) and source not in environments:
                near = _nearest(source, environments)
                where = f"tool.fairlead.environments.{environment.name}.promote-from"
                self.problems.append(
                    f"{where}: there is no environment {source!r}" + (f"; did you mean {near}?" if near else "")
                )

    def check_variables(self) -> None:
        known = self._variables | OTHER_VARIABLES
        for variable in sorted(self.environ):
            if variable.startswith(PREFIX) and variable not in known:
                near = _nearest(variable.removeprefix(PREFIX), [name.removeprefix(PREFIX) for name in known])
                advice = f"; did you mean {PREFIX}{near}?" if near else ""
                self.problems.append(f"{variable}: no such setting{advice}")

    def _subtable(self, path: str) -> dict[str, Any]:
        table, walked = self.table, "tool.fairlead"
        for part in path.split(".") if path else ():
            found, walked = table.get(part, {}), f"{walked}.{part}"
            if not isinstance(found, dict):
                problem = f"{walked}: must be a table, not {describe(found)}"
                if problem not in self.problems:
                    self.problems.append(problem)
                return {}
            table = found
        return table

    def _value(self, path: str, name: str, key: Key, table: Mapping[str, Any]) -> Any:
        dotted = _dotted(path, name)
        variable = _variable(dotted)
        self._variables.add(variable)
        if dotted in self.overrides:
            raw, source, label = self.overrides[dotted], "flag", f"--{name}"
        elif variable in self.environ:
            raw, source, label = from_text(self.environ[variable], key.kind), variable, variable
        elif name in table:
            raw, source, label = table[name], FILE, _dotted("tool.fairlead", path, name)
        else:
            raw, source, label = key.default, "default", name
        self.sources[dotted] = source
        try:
            value = None if raw is None else check(raw, key.kind)
        except ValueError as error:
            self.problems.append(f"{label}: {error}")
            return None
        self.values[dotted] = value
        return self.root / str(value) if key.kind == "path" and value is not None else value


def _mask_secrets(environments: Iterable[EnvironmentConfig], environ: Mapping[str, str]) -> None:
    """Have every secret masked that the configuration names the variable of, wherever it should turn up."""
    declared = list(environments)
    for name in {*_SECRET_VARIABLES, *(one.token_env for one in declared if one.token_env)}:
        for secret in environ.get(name, "").split(","):
            redact.register(secret.strip())
    for one in declared:
        # Of an address the password alone is a secret; the rest says where things went wrong.
        for password in passwords_in(environ.get(one.database_url_env or "", "")):
            redact.register(password)
    for name, value in environ.items():
        secrets = {value} if _SECRET_NAME.search(name.upper()) else passwords_in(value) if "://" in value else set()
        for secret in secrets:
            if len(secret) >= _SHORTEST_GUESSED:
                redact.register(secret)


def _find_root() -> Path:
    start = Path.cwd()
    for folder in (start, *start.parents):
        if (folder / FILE).is_file():
            return folder
    raise ConfigurationError(
        f"no {FILE} in {start} or above it",
        hint=f"run this inside a repository whose {FILE} has a [tool.fairlead] table",
    )


def _read_table(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        raise ConfigurationError(f"there is no {file}", hint="create it with a [tool.fairlead] table") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}") from None
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{file} is not valid TOML: {error}", hint="mend the line it names") from None
    tool = document.get("tool")
    table = tool.get("fairlead") if isinstance(tool, dict) else None
    if table is None:
        raise ConfigurationError(
            f"{file} has no [tool.fairlead] table", hint='add one: [tool.fairlead], name = "my-backend"'
        )
    if not isinstance(table, dict):
        raise ConfigurationError(f"{file}: tool.fairlead must be a table")
    return dict(table)


def _rejected(file: Path, problems: list[str]) -> ConfigurationError:
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return ConfigurationError(
        f"{count} in the configuration ({file})", hint="docs/reference.md lists every key", problems=tuple(problems)
    )


def _nearest(name: str, known: Iterable[str]) -> str | None:
    import difflib

    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return close[0] if close else None


def _variable(dotted: str) -> str:
    return PREFIX + dotted.upper().replace(".", "_").replace("-", "_")


def _dotted(*parts: str) -> str:
    return ".".join(part for part in parts if part)
