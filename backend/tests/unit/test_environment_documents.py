"""The documents about the environment, and the files that say how the backend is run, agree with its settings."""

import json
import re
import tomllib

import pytest

from app.settings import ROOT, Settings, SettingsError, load_settings

VARIABLES = {name.upper() for name in Settings.model_fields}


def test_the_reference_has_every_variable_once():
    text = (ROOT / "ENVIRONMENT_VARIABLES.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([A-Z_]+)`", text, re.MULTILINE)

    assert len(rows) == len(set(rows))
    assert set(rows) >= VARIABLES


def test_the_example_mentions_every_variable_and_no_other():
    text = (ROOT / ".env.example").read_text(encoding="utf-8")

    assert set(re.findall(r"^(?:# )?([A-Z_]+)=", text, re.MULTILINE)) == VARIABLES


def test_development_starts_with_the_example_as_it_is(monkeypatch):
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    given = dict(re.findall(r"^([A-Z_]+)=(.*)$", text, re.MULTILINE))
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    assert given.keys() == {"DATABASE_URL"}
    assert load_settings().environment == "development"


def test_production_refuses_the_values_of_the_example(monkeypatch):
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    for name, value in re.findall(r"^(?:# )?([A-Z_]+)=(.*)$", text, re.MULTILINE):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ENVIRONMENT", "production")

    with pytest.raises(SettingsError) as caught:
        load_settings()

    named = {line.split()[0] for line in str(caught.value).splitlines()[1:-1]}
    assert named == {"DATABASE_URL", "JWT_SECRET_KEY", "ENCRYPTION_KEY"}


def test_the_platform_starts_the_release_as_the_procfile_does():
    command = (ROOT / "Procfile").read_text(encoding="utf-8").splitlines()[0].removeprefix("web: ")
    deploy = json.loads((ROOT / "railway.json").read_text(encoding="utf-8"))["deploy"]

    # A start command of an image runs without a shell on Railway, so the variables need one of its own.
    assert deploy["startCommand"] == f'/bin/sh -c "exec {command}"'
    # The image itself needs none: what starts it reads the Procfile.
    assert 'CMD ["python", "-m", "fairlead.image.start", "web"]' in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_the_platform_waits_longer_than_the_backend_waits_for_its_database():
    deploy = json.loads((ROOT / "railway.json").read_text(encoding="utf-8"))["deploy"]

    assert deploy["healthcheckTimeout"] > Settings.model_fields["database_startup_timeout"].default
    assert isinstance(deploy["overlapSeconds"], int)
    assert isinstance(deploy["drainingSeconds"], int)


def test_a_deploy_asks_for_what_the_backend_does_not_start_without(monkeypatch):
    fairlead = tomllib.loads((ROOT.parent / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["fairlead"]
    monkeypatch.setenv("ENVIRONMENT", "production")

    with pytest.raises(SettingsError) as caught:
        load_settings()

    missing = {line.split()[0] for line in str(caught.value).splitlines()[1:-1]}
    # Without ENVIRONMENT it would start, as in development, and make up its secrets.
    assert set(fairlead["deploy"]["required-variables"]) == missing | {"ENVIRONMENT"}


def test_every_process_that_is_deployed_has_its_line_in_the_procfile():
    fairlead = tomllib.loads((ROOT.parent / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["fairlead"]
    lines = (ROOT / "Procfile").read_text(encoding="utf-8").splitlines()
    processes = {line.partition(":")[0] for line in lines if ":" in line}

    assert {kind for one in fairlead["environments"].values() for kind in one.get("services", {})} <= processes
