"""The sections of the configuration as frozen records; `fairlead.config` makes them."""

from collections.abc import Mapping
from dataclasses import dataclass
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
    """How the local platform runs releases; times are in seconds."""

    port: int
    health_timeout: float
    stop_timeout: float


@dataclass(frozen=True, slots=True)
class DeployConfig:
    """How a deploy is followed and verified; `timeout` is in seconds, `confirmations` counts answers in a row."""

    timeout: float
    confirmations: int


@dataclass(frozen=True, slots=True)
class CoverageConfig:
    """What the coverage gate asks for, in per cent."""

    statements: float
    branches: float
    functions: float
    lines: float


@dataclass(frozen=True, slots=True)
class EnvironmentConfig:
    """A named place to deploy to."""

    name: str
    platform: str
    branch: str | None
    url: str | None
    services: Mapping[str, str]
    token_env: str | None
    database_url_env: str | None
    promote_from: str | None
    approval: bool
    backup: bool
    variables: Mapping[str, str]
    generated_secrets: tuple[str, ...]
