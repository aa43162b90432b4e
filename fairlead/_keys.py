"""Every key of the configuration by its section: what kind of value it takes, and its default."""

from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Key:
    """One key: the kind of its value, as `fairlead._values` checks it, and what it is where nothing says so."""

    kind: str
    default: Any = None


TOP: Final[dict[str, Key]] = {
    "name": Key("name", "backend"),
    "version": Key("string", "0.0.0"),
    "description": Key("string"),
    "source": Key("url"),
    "backend": Key("path", "backend"),
    "app": Key("app", "app.main:app"),
    "health-path": Key("url path", "/api/health"),
    "version-path": Key("url path", "/api/v1/version"),
    "state-directory": Key("path", ".fairlead"),
}
SECTIONS: Final[dict[str, dict[str, Key]]] = {
    "migrations": {
        "engine": Key("sql|alembic", "sql"),
        "directory": Key("path", "backend/migrations"),
        "lock-timeout": Key("seconds", 2.0),
        "statement-timeout": Key("seconds"),
        "transaction-control": Key("refuse|run", "refuse"),
        "seed": Key("path"),
        "baseline-irreversible": Key("table of strings", {}),
        "lint-since": Key("string"),
        "lint-ignore": Key("list of strings", ()),
        "alembic-python": Key("path"),
        "alembic-url-env": Key("variable name", "DATABASE_URL"),
        "alembic-heads": Key("off|warning|error", "error"),
        "alembic-check": Key("off|warning|error", "warning"),
    },
    "bundle": {
        "include": Key("list of strings", ("app/**/*.py", "migrations/**/*.sql", "requirements.txt")),
        "toolkit": Key("boolean", False),
    },
    "platform": {
        "port": Key("port", 8000),
        "health-timeout": Key("seconds", 60.0),
        "stop-timeout": Key("seconds", 10.0),
        "keep-warm": Key("seconds or 0", 300.0),
    },
    "deploy": {
        "timeout": Key("seconds", 600.0),
        "confirmations": Key("count", 3),
        "smoke": Key("list of strings", ()),
        "required-variables": Key("list of strings", ()),
    },
    "verify": {
        "suites": Key("path", "backend/tests/e2e"),
        "timeout": Key("seconds", 120.0),
        "login-path": Key("url path", "/api/auth/login"),
        "account-command": Key("list of strings", ()),
        "account-password-env": Key("variable name", "VERIFY_PASSWORD"),
    },
    "env": {
        "describe": Key("list of strings", ()),
        "page": Key("path"),
        "example": Key("path"),
    },
    "railway": {
        "start-command": Key("string"),
        "pre-deploy-command": Key("list of strings", ()),
        "healthcheck-path": Key("url path"),
        "healthcheck-timeout": Key("whole seconds"),
        "overlap-seconds": Key("whole seconds or 0", 15),
        "draining-seconds": Key("whole seconds or 0", 30),
        "replicas": Key("count"),
        "restart-policy": Key("ON_FAILURE|ALWAYS|NEVER"),
        "restart-retries": Key("count or 0"),
        "dockerfile-path": Key("string"),
        "sleep": Key("boolean"),
    },
    "security": {
        "ignore": Key("list of exceptions", ()),
        "licences": Key("list of strings", ()),
        "licence-exceptions": Key("table of strings", {}),
    },
    "performance": {
        "api-p95": Key("milliseconds", 200.0),
        "query-p95": Key("milliseconds", 50.0),
        "memory": Key("megabytes", 512.0),
        "memory-after": Key("megabytes", 200.0),
        "cpu": Key("per cent", 50.0),
        "cpu-rate": Key("count", 100),
        "share": Key("per cent", 60.0),
        "regression": Key("per cent", 25.0),
    },
    "coverage": {
        name: Key("per cent", value)
        for name, value in (("statements", 85.0), ("branches", 75.0), ("functions", 80.0), ("lines", 85.0))
    }
    | {"folders": Key("table of percentages", {})},
}
ENVIRONMENT: Final[dict[str, Key]] = {
    "platform": Key("local|railway", "local"),
    "branch": Key("string"),
    "url": Key("url"),
    "api-url": Key("url"),
    "project": Key("string"),
    "railway-environment": Key("string"),
    "services": Key("table of strings", {}),
    "token-env": Key("variable name"),
    "database-url-env": Key("variable name"),
    "promote-from": Key("string"),
    "approval": Key("boolean", False),
    "backup": Key("boolean", False),
    "watch": Key("seconds or 0", 0.0),
    "suites": Key("off|smoke|full", "off"),
    "variables": Key("table of strings", {}),
    "generated-secrets": Key("list of strings", ()),
    "without": Key("list of strings", ()),
}
