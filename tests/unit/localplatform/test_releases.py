"""What a bundle says about how it is run, and what a release gets to see."""

import json
import ssl
from pathlib import Path
from typing import Any

import pytest

from fairlead import config
from fairlead.config import Config
from fairlead.exceptions import PlatformError
from fairlead.localplatform import releases
from fairlead.localplatform.releases import Identity

IDENTITY = Identity("project", "environment", "local", "service", "web", "127.0.0.1:8000")


def load(folder: Path, *, environ: dict[str, str] | None = None, extra: str = "") -> Config:
    (folder / "pyproject.toml").write_text(f'[tool.fairlead]\nname = "tiny"\n{extra}')
    return config.load(folder, environ=environ or {})


def make_release(folder: Path, *, deploy: Any = None, procfile: str | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    if deploy is not None:
        (folder / "railway.json").write_text(json.dumps({"deploy": deploy}))
    if procfile is not None:
        (folder / "Procfile").write_text(procfile)
    return folder


def test_plan_comes_from_railway_json_first(tmp_path: Path) -> None:
    deploy = {
        "startCommand": "serve",
        "preDeployCommand": ["first", " second "],
        "healthcheckPath": "/up",
        "healthcheckTimeout": 5,
        "restartPolicyType": "ALWAYS",
        "restartPolicyMaxRetries": 2,
    }
    release = make_release(tmp_path / "release", deploy=deploy, procfile="web: other")
    (release / "build-info.json").write_text('{"digest": "sha256:1"}')
    plan = releases.read_plan(release, load(tmp_path))
    assert plan == releases.Plan("serve", ("first", "second"), "/up", 5.0, "ALWAYS", 2, "sha256:1")


def test_plan_falls_back_to_procfile_and_configuration(tmp_path: Path) -> None:
    release = make_release(
        tmp_path / "release", procfile="# comment\nworker: work\nweb: uvicorn app:app --port $PORT\n"
    )
    plan = releases.read_plan(release, load(tmp_path))
    assert plan == releases.Plan("uvicorn app:app --port $PORT", (), "/api/health", 60.0, "ON_FAILURE", 10, None)


def test_health_timeout_is_capped_by_the_configuration(tmp_path: Path) -> None:
    release = make_release(tmp_path / "release", deploy={"startCommand": "serve", "healthcheckTimeout": 300})
    settings = "[tool.fairlead.platform]\nhealth-timeout = 7\n"
    assert releases.read_plan(release, load(tmp_path, extra=settings)).health_timeout == 7


@pytest.mark.parametrize(
    ("deploy", "says"),
    [
        ({}, "does not say how to start"),
        ({"startCommand": " "}, "does not say how to start"),
        ({"startCommand": 3}, "startCommand must be a text"),
        ({"startCommand": "x", "healthcheckTimeout": "long"}, "healthcheckTimeout must be a number"),
        ({"startCommand": "x", "restartPolicyMaxRetries": -1}, "restartPolicyMaxRetries must be a number"),
        ({"startCommand": "x", "restartPolicyType": "SOMETIMES"}, "ON_FAILURE, ALWAYS, NEVER"),
        ({"startCommand": "x", "preDeployCommand": {"run": 1}}, "preDeployCommand must be"),
        ([], "must be an object"),
    ],
)
def test_settings_that_make_no_sense_are_told(tmp_path: Path, deploy: Any, says: str) -> None:
    with pytest.raises(PlatformError, match=says):
        releases.read_plan(make_release(tmp_path / "release", deploy=deploy), load(tmp_path))


@pytest.mark.parametrize("text", ["{", "[]", '{"name": 1}'])
def test_build_info_that_makes_no_sense_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "build-info.json").write_text(text)
    with pytest.raises(PlatformError, match=r"build-info\.json cannot be understood"):
        releases.read_digest(tmp_path)


@pytest.mark.parametrize(
    ("command", "run"),
    [
        ("uvicorn app.main:app --port $PORT", "exec uvicorn app.main:app --port $PORT"),
        ("python -c 'a; b && c'", "exec python -c 'a; b && c'"),
        ("serve > log.txt", "exec serve > log.txt"),
        ("cd app && serve", "cd app && serve"),
        ("first; second", "first; second"),
        ("(serve)", "(serve)"),
        ("serve | tee log", "serve | tee log"),
        ("NAME=value serve", "NAME=value serve"),
        ("it's broken", "it's broken"),
        ("first\nsecond", "first\nsecond"),
    ],
)
def test_shell_makes_way_for_a_lone_command_only(command: str, run: str) -> None:
    assert releases.make_shell_command(command) == ("/bin/sh", "-c", run)


CALLER = {
    "PATH": "/caller/bin",
    "HOME": "/home/caller",
    "LC_ALL": "C.UTF-8",
    "COVERAGE_PROCESS_START": "/c",
    "RAILWAY_TOKEN": "canary-token",
    "AWS_SECRET_ACCESS_KEY": "canary-key",
    "PYTHONPATH": "/canary",
    "PYTHONDONTWRITEBYTECODE": "1",
    "DATABASE_URL": "canary-url",
    "VIRTUAL_ENV": "/canary",
    "FAIRLEAD_PLATFORM_PORT": "9000",
    "UV_INDEX_URL": "https://canary",
    "HTTPS_PROXY": "http://proxy",
    "PORT": "canary",
}


def test_release_sees_its_own_variables_and_little_else(tmp_path: Path) -> None:
    settings = '[tool.fairlead.environments.local]\nvariables = { GREETING = "hello", JWT = "declared" }\n'
    variables = releases.make_variables(
        load(tmp_path, environ=CALLER, extra=settings),
        identity=IDENTITY,
        deployment_id="deployment",
        environment=Path("/env"),
        port=1234,
        database_url="postgresql://here",
        secrets={"JWT": "generated", "KEY": "generated"},
    )
    assert variables == {
        "PATH": "/env/bin:/caller/bin",
        "VIRTUAL_ENV": "/env",
        "HOME": "/home/caller",
        "LC_ALL": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "GREETING": "hello",
        "JWT": "declared",
        "KEY": "generated",
        "HOST": "127.0.0.1",
        "PORT": "1234",
        "DATABASE_URL": "postgresql://here",
        "RAILWAY_PROJECT_ID": "project",
        "RAILWAY_ENVIRONMENT_ID": "environment",
        "RAILWAY_ENVIRONMENT_NAME": "local",
        "RAILWAY_SERVICE_ID": "service",
        "RAILWAY_SERVICE_NAME": "web",
        "RAILWAY_DEPLOYMENT_ID": "deployment",
        "RAILWAY_PUBLIC_DOMAIN": "127.0.0.1:8000",
    }


def test_builds_see_proxies_and_indexes_but_no_secrets() -> None:
    variables = releases.make_build_variables(CALLER)
    assert {"UV_INDEX_URL", "HTTPS_PROXY", "PATH", "HOME"} <= set(variables)
    assert not {"RAILWAY_TOKEN", "AWS_SECRET_ACCESS_KEY", "DATABASE_URL", "VIRTUAL_ENV", "PYTHONPATH"} & set(variables)


@pytest.mark.parametrize(
    ("bundle", "folder", "certificates", "trusts"),
    [
        ("ca.pem", None, (), True),
        (None, "certs", ("one.pem",), True),
        (None, "certs", (), False),
        (None, None, (), False),
    ],
)
def test_uv_accepts_the_machines_certificates_where_it_has_some(
    bundle: str | None,
    folder: str | None,
    certificates: tuple[str, ...],
    trusts: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if folder:
        (tmp_path / folder).mkdir()
        for name in certificates:
            (tmp_path / folder / name).touch()
    paths = ssl.DefaultVerifyPaths(bundle, folder and str(tmp_path / folder), "", "", "", "")
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    assert ("UV_SYSTEM_CERTS" in releases.make_build_variables(CALLER)) is trusts


def test_platform_itself_sees_fairleads_settings() -> None:
    approvals = {"FAIRLEAD_APPROVAL": "a token", "FAIRLEAD_APPROVAL_KEY": "the key of all approvals"}
    variables = releases.make_daemon_variables({**CALLER, **approvals})
    assert not variables.keys() & approvals.keys()
    assert variables["FAIRLEAD_PLATFORM_PORT"] == "9000"
    assert "RAILWAY_TOKEN" not in variables
