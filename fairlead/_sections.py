"""The sections of the configuration as frozen records; `fairlead.config` makes them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path


@dataclass(frozen=True, slots=True)
class MigrationsConfig:
    """Where migrations lie, which engine runs them and how; times are in seconds."""

    engine: str
    directory: Path
    lock_timeout: float
    statement_timeout: float | None
    transaction_control: str
    seed: Path | None
    baseline_irreversible: Mapping[str, str]
    lint_since: str | None
    lint_ignore: tuple[str, ...]
    alembic_python: Path | None
    alembic_url_env: str
    alembic_heads: str
    alembic_check: str


@dataclass(frozen=True, slots=True)
class BundleConfig:
    """What a bundle holds: glob patterns within the backend's folder, and whether the toolkit itself goes along."""

    include: tuple[str, ...]
    toolkit: bool


@dataclass(frozen=True, slots=True)
class PlatformConfig:
    """How the local platform runs releases; times are in seconds.

    `keep_warm` is how long the release before goes on running, so that a rollback only moves a pointer; 0: not at all.
    """

    port: int
    health_timeout: float
    stop_timeout: float
    keep_warm: float


@dataclass(frozen=True, slots=True)
class DeployConfig:
    """How a deploy is followed and verified; `timeout` is in seconds, `confirmations` counts answers in a row.

    `smoke` are paths that a new release must answer well, `required_variables` names what the platform must give it.
    """

    timeout: float
    confirmations: int
    smoke: tuple[str, ...]
    required_variables: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VerifyConfig:
    """Where the end-to-end suites lie and how they run; `timeout` is in seconds and holds for each suite.

    `account_command` makes an account in the local release: `{email}` stands for its address, and its password comes
    in the variable `account_password_env`.
    """

    suites: Path
    timeout: float
    login_path: str
    account_command: tuple[str, ...]
    account_password_env: str


@dataclass(frozen=True, slots=True)
class EnvConfig:
    """How the application describes its variables, and the two documents that are written from that.

    Without a place of their own they lie in the backend's folder.
    """

    describe: tuple[str, ...]
    page: Path | None
    example: Path | None


@dataclass(frozen=True, slots=True)
class RailwayConfig:
    """How Railway builds and runs a service; times are in whole seconds, and None leaves a setting as it is there.

    `overlap_seconds` is how long the earlier release goes on serving beside the new one, `draining_seconds` how long
    it then may take to end what it has begun. Start, pre-deploy command and health check are the web's.
    """

    start_command: str | None
    pre_deploy_command: tuple[str, ...]
    healthcheck_path: str | None
    healthcheck_timeout: int | None
    overlap_seconds: int
    draining_seconds: int
    replicas: int | None
    restart_policy: str | None
    restart_retries: int | None
    dockerfile_path: str | None
    sleep: bool | None


@dataclass(frozen=True, slots=True)
class CoverageConfig:
    """What the coverage gate asks for, in per cent; `folders` is what it asks of the lines in each of some folders."""

    statements: float
    branches: float
    functions: float
    lines: float
    folders: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SecurityException:
    """A finding that is accepted through the day `expires`: a rule or advisory, in one file where `path` names it.

    `tool` names whose finding it is, where a machine may lack that tool.
    """

    id: str
    reason: str
    expires: date
    path: str = ""
    tool: str = ""

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"{self.id} in {self.path}" if self.path else self.id

    def __str__(self) -> str:
        return f"{self.name} until {self.expires:%Y-%m-%d}"


@dataclass(frozen=True, slots=True)
class SecurityConfig:
    """What the security gate accepts: findings, and licences (by SPDX identifier; by package with a reason)."""

    ignore: tuple[SecurityException, ...]
    licences: tuple[str, ...]
    licence_exceptions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PerformanceConfig:
    """What the performance gate allows: times in milliseconds, memory in megabytes, the rest in per cent.

    `memory` is the most at any moment and `memory_after` at the end of the soak. `cpu` is the share of one core at
    `cpu_rate` requests a second, `share` the least of a bare route's requests a second, `regression` how much more
    processor time for an answer than at the base revision.
    """

    api_p95: float
    query_p95: float
    memory: float
    memory_after: float
    cpu: float
    cpu_rate: int
    share: float
    regression: float


@dataclass(frozen=True, slots=True)
class EnvironmentConfig:
    """A named place to deploy to; `watch` is how many seconds a new release is watched after it took over.

    `suites` are the end-to-end suites that a deploy runs: "off", "smoke" or "full". `without` names the integrations
    that it deliberately does not have.
    """

    name: str
    platform: str
    branch: str | None
    url: str | None
    api_url: str | None
    project: str | None
    railway_environment: str | None
    services: Mapping[str, str]
    token_env: str | None
    database_url_env: str | None
    promote_from: str | None
    approval: bool
    backup: bool
    watch: float
    suites: str
    variables: Mapping[str, str]
    generated_secrets: tuple[str, ...]
    without: tuple[str, ...]
