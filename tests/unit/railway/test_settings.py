"""The settings of a service: what is declared of them, how that differs from what is live, and both files of them."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from graphql import GraphQLInputObjectType, coerce_input_value

from fairlead import config
from fairlead._procfile import parse as read_processes
from fairlead.config import Config
from fairlead.exceptions import ConfigurationError
from fairlead.localplatform.answers import schema as local_schema
from fairlead.localplatform.releases import read_plan, read_procfile
from fairlead.railway import ServiceInstance
from fairlead.railway.models import SERVICE_SETTINGS
from fairlead.railway.settings import (
    Difference,
    compare,
    declare,
    make_update,
    render_json,
    render_program,
    render_value,
)

ROOT = Path(__file__).parents[3]
#: Railway's schema of the file, as it was published last.
OFFICIAL = Path(__file__).with_name("railway-config.schema.json")
#: What Railway came to read of the file after that schema was written, and says so in its reference.
ADDED_SINCE = {
    "preDeployCommand": list,
    "overlapSeconds": int,
    "drainingSeconds": int,
    "numReplicas": int,
    "sleepApplication": bool,
}
FULL = """\
[tool.fairlead]
name = "shop"

[tool.fairlead.railway]
start-command = '/bin/sh -c "exec serve --port ${PORT}"'
pre-deploy-command = ["migrate up", "warm 'the cache'"]
healthcheck-path = "/ready"
healthcheck-timeout = 90
overlap-seconds = 20
draining-seconds = 40
replicas = 3
restart-policy = "ALWAYS"
restart-retries = 0
dockerfile-path = "Dockerfile.slim"
sleep = false

[tool.fairlead.environments.staging]
platform = "railway"
services = { jobs = "shop jobs", web = "shop-web" }
"""
BARE = '[tool.fairlead]\nname = "shop"\n'

Load = Callable[[str], Config]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Return a function that loads a configuration file's text."""

    def write_and_load(text: str) -> Config:
        (tmp_path / "pyproject.toml").write_text(text, "utf-8")
        return config.load(tmp_path, environ={})

    return write_and_load


def instance(**settings: Any) -> ServiceInstance:
    return ServiceInstance("service-1", settings)


# --- what is declared ---


def test_every_setting_can_be_declared_of_the_web(load: Load) -> None:
    declared = declare(load(FULL))
    assert tuple(declared) == SERVICE_SETTINGS
    assert declared == {
        "startCommand": '/bin/sh -c "exec serve --port ${PORT}"',
        "preDeployCommand": ["migrate up", "warm 'the cache'"],
        "healthcheckPath": "/ready",
        "healthcheckTimeout": 90,
        "overlapSeconds": 20,
        "drainingSeconds": 40,
        "numReplicas": 3,
        "restartPolicyType": "ALWAYS",
        "restartPolicyMaxRetries": 0,
        "dockerfilePath": "Dockerfile.slim",
        "sleepApplication": False,
    }


def test_without_a_section_only_what_keeps_requests_is_declared(load: Load) -> None:
    assert declare(load(BARE)) == {"healthcheckPath": "/api/health", "overlapSeconds": 15, "drainingSeconds": 30}


def test_another_kind_has_no_health_check_and_starts_as_the_procfile_says(load: Load) -> None:
    declared = declare(load(FULL), kind="worker", start_command="work --all")
    assert declared["startCommand"] == "work --all"
    assert not {"preDeployCommand", "healthcheckPath", "healthcheckTimeout"} & set(declared)
    assert declared["drainingSeconds"] == 40
    assert "startCommand" not in declare(load(FULL), kind="worker")


def test_declared_start_command_is_stronger_than_the_procfile(load: Load) -> None:
    assert declare(load(FULL), start_command="other")["startCommand"].startswith("/bin/sh")
    assert declare(load(BARE), start_command="other")["startCommand"] == "other"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("overlap-seconds = 1.5", "overlap-seconds: must be whole seconds from 0"),
        ("draining-seconds = -1", "draining-seconds: must be whole seconds from 0"),
        ("healthcheck-timeout = 0", "healthcheck-timeout: must be whole seconds from 1"),
        ("healthcheck-path = 'ready'", "healthcheck-path: must be a path"),
        ("replicas = 0", "replicas: must be a whole number from 1"),
        ("restart-retries = -1", "restart-retries: must be a whole number from 0"),
        ("restart-policy = 'on_failure'", "restart-policy: must be one of ON_FAILURE, ALWAYS, NEVER"),
        ("pre-deploy-command = 'migrate'", "pre-deploy-command: must be a list"),
        ("overlap_seconds = 20", "overlap_seconds: unknown key; did you mean overlap-seconds?"),
        ("sleep = 'yes'", "sleep: must be true or false"),
    ],
)
def test_what_railway_would_not_take_is_refused_in_the_file(load: Load, line: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(f"[tool.fairlead.railway]\n{line}\n")
    assert [found for found in caught.value.problems if problem in found]


def test_seconds_can_come_from_a_variable(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(BARE, "utf-8")
    environ = {"FAIRLEAD_RAILWAY_OVERLAP_SECONDS": "0", "FAIRLEAD_RAILWAY_RESTART_RETRIES": "7"}
    loaded = config.load(tmp_path, environ=environ)
    assert (loaded.railway.overlap_seconds, loaded.railway.restart_retries) == (0, 7)


# --- what differs ---

SAME: list[tuple[str, Any, Any]] = [
    ("preDeployCommand", ["migrate"], ["migrate"]),
    ("preDeployCommand", ["migrate"], "migrate"),
    ("preDeployCommand", ["migrate"], " migrate\n"),
    ("preDeployCommand", ["migrate"], {"cmd": "migrate"}),
    ("preDeployCommand", ["migrate"], {"command": ["migrate"]}),
    ("preDeployCommand", ["migrate", "warm"], [{"cmd": "migrate"}, {"cmd": "warm"}]),
    ("startCommand", "serve", "serve "),
    ("numReplicas", 1, None),
    ("overlapSeconds", 0, None),
    ("drainingSeconds", 30, 30),
    ("drainingSeconds", 30, 30.0),
    ("healthcheckTimeout", 300, None),
    ("dockerfilePath", "Dockerfile", None),
    ("dockerfilePath", "docker/Dockerfile", "/docker/Dockerfile"),
    ("dockerfilePath", "./Dockerfile", "Dockerfile"),
    ("sleepApplication", False, None),
]
DIFFERENT: list[tuple[str, Any, Any, Any]] = [
    ("overlapSeconds", 15, None, 0),
    ("overlapSeconds", 15, 0, 0),
    ("drainingSeconds", 30, None, 0),
    ("drainingSeconds", 30, 29, 29),
    ("drainingSeconds", 30, "30", "30"),
    ("numReplicas", 3, None, 1),
    ("healthcheckTimeout", 100, None, 300),
    ("healthcheckPath", "/api/health", None, None),
    ("healthcheckPath", "/api/health", "", None),
    ("startCommand", "serve", None, None),
    ("preDeployCommand", ["migrate"], None, []),
    ("preDeployCommand", ["migrate"], "", []),
    ("preDeployCommand", ["migrate"], ["migrate", "warm"], ["migrate", "warm"]),
    ("preDeployCommand", ["migrate"], {"steps": 1}, ['{"steps": 1}']),
    ("preDeployCommand", ["migrate"], 5, ["5"]),
    ("restartPolicyType", "ALWAYS", "ON_FAILURE", "ON_FAILURE"),
    ("restartPolicyMaxRetries", 0, 10, 10),
    ("sleepApplication", True, None, False),
    ("dockerfilePath", "Dockerfile.slim", None, "Dockerfile"),
]


@pytest.mark.parametrize(("name", "declared", "live"), SAME)
def test_what_means_the_same_is_no_difference(name: str, declared: Any, live: Any) -> None:
    assert compare({name: declared}, instance(**{name: live})) == ()


@pytest.mark.parametrize(("name", "declared", "live", "shown"), DIFFERENT)
def test_what_differs_is_shown_with_what_railway_does(name: str, declared: Any, live: Any, shown: Any) -> None:
    assert compare({name: declared}, instance(**{name: live})) == (Difference(name, declared, shown),)


def test_a_service_that_was_never_set_up_differs_in_all_that_has_another_default(load: Load) -> None:
    live = instance(**dict.fromkeys(SERVICE_SETTINGS))
    found = compare(declare(load(BARE)), live)
    assert [one.sentence for one in found] == [
        "healthcheckPath is not set and should be /api/health",
        "overlapSeconds is 0 and should be 15",
        "drainingSeconds is 0 and should be 30",
    ]


def test_live_settings_that_nobody_declared_are_left_alone() -> None:
    live = instance(numReplicas=4, startCommand="other", overlapSeconds=15, cronSchedule="* * * * *")
    assert compare({"overlapSeconds": 15}, live) == ()


def test_setting_what_differs_ends_the_difference(load: Load) -> None:
    declared = declare(load(FULL))
    update = make_update(compare(declared, instance()))
    assert compare(declared, instance(**update)) == ()
    assert make_update(compare(declared, instance(**update))) == {}


def test_update_is_of_the_types_of_the_schema(load: Load) -> None:
    update = make_update(compare(declare(load(FULL)), instance(restartPolicyType="NEVER", restartPolicyMaxRetries=1)))
    kind = local_schema().type_map["ServiceInstanceUpdateInput"]
    assert isinstance(kind, GraphQLInputObjectType)
    # Where a declared setting is what Railway does anyway there is nothing to set.
    assert {*update, "sleepApplication"} == set(SERVICE_SETTINGS)
    assert coerce_input_value(dict(update), kind)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "not set"), ([], "not set"), (["a", "b"], "a; b"), (False, "false"), (0, "0"), ("/up", "/up")],
)
def test_value_is_shown_as_a_person_reads_it(value: Any, text: str) -> None:
    assert render_value(value) == text


def test_procfile_is_read_as_the_local_platform_reads_it(tmp_path: Path) -> None:
    text = "# how it runs\nweb: serve --log a:b\n\n worker :  work\nempty:\nno colon\n"
    (tmp_path / "Procfile").write_text(text)
    assert read_processes(text) == {"web": "serve --log a:b", "worker": "work"} == read_procfile(tmp_path)


# --- railway.json ---


def find_faults(value: Any, schema: Mapping[str, Any], path: str = "") -> list[str]:
    """Check a value by what this schema uses of JSON Schema; a word that is not known here would be overlooked."""
    unknown = set(schema) - {"$schema", "type", "properties", "additionalProperties", "enum", "anyOf", "not", "items"}
    assert unknown <= {"description"}, unknown
    if "anyOf" in schema:
        return [] if any(not find_faults(value, one, path) for one in schema["anyOf"]) else [f"{path}: fits nothing"]
    if "not" in schema:
        return [] if find_faults(value, schema["not"], path) else [f"{path}: must not be there"]
    types: dict[str, Any] = {"object": dict, "array": list, "string": str, "number": (int, float), "null": type(None)}
    if "type" in schema and (isinstance(value, bool) or not isinstance(value, types[schema["type"]])):
        return [f"{path}: {value!r} is no {schema['type']}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{path}: {value!r} is none of {schema['enum']}"]
    if isinstance(value, list):
        return [fault for one in value for fault in find_faults(one, schema.get("items", {}), path)]
    if not isinstance(value, dict):
        return []
    known = schema.get("properties", {})
    faults = [f"{path}.{name}: unknown" for name in value if name not in known and "properties" in schema]
    return [
        *faults,
        *(f for name in value if name in known for f in find_faults(value[name], known[name], f"{path}.{name}")),
    ]


def find_file_faults(document: dict[str, Any], schema: Mapping[str, Any]) -> list[str]:
    deploy = dict(document["deploy"])
    faults = [
        f"{name}: wrong type" for name, kind in ADDED_SINCE.items() if name in deploy and type(deploy[name]) is not kind
    ]
    rest = {name: value for name, value in deploy.items() if name not in ADDED_SINCE}
    asked = {name: value for name, value in document.items() if name != "$schema"}
    return faults + find_faults({**asked, "deploy": rest}, schema)


@pytest.mark.parametrize("text", [FULL, BARE])
def test_file_is_valid_by_the_official_schema(load: Load, text: str) -> None:
    document = json.loads(render_json(load(text)))
    assert find_file_faults(document, json.loads(OFFICIAL.read_text("utf-8"))) == []


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("deploy", {"healthcheckTimeout": "90"}),
        ("deploy", {"overlapSeconds": "20"}),
        ("deploy", {"restartPolicyType": "SOMETIMES"}),
        ("deploy", {"startComand": "serve"}),
        ("build", {"builder": "MAGIC"}),
        ("build", {"dockerfilePath": 5}),
    ],
)
def test_file_with_a_fault_would_be_seen(load: Load, section: str, change: dict[str, Any]) -> None:
    document = json.loads(render_json(load(FULL)))
    document[section].update(change)
    assert len(find_file_faults(document, json.loads(OFFICIAL.read_text("utf-8")))) == 1


def test_file_of_this_repository_is_the_one_that_is_written() -> None:
    loaded = config.load(ROOT, environ={})
    written = render_json(loaded)
    assert (loaded.backend / "railway.json").read_text("utf-8") == written, "run: invoke railway.config"


def test_local_platform_runs_by_the_file_as_declared(load: Load, tmp_path: Path) -> None:
    loaded = load(FULL)
    (tmp_path / "railway.json").write_text(render_json(loaded), "utf-8")
    plan = read_plan(tmp_path, loaded)
    assert plan.start_command == '/bin/sh -c "exec serve --port ${PORT}"'
    assert plan.pre_deploy_commands == ("migrate up", "warm 'the cache'")
    assert (plan.health_path, plan.restart_policy, plan.restarts) == ("/ready", "ALWAYS", 0)


# --- .railway/railway.py ---

#: What Railway's own program does with the file.
EVALUATE = """\
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("railway_sdk_user", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
project = module.main(None)
project = project.to_graph() if hasattr(project, "to_graph") else project
print(json.dumps({"partial": module.PARTIAL, "project": project}))
"""
#: What the program uses of railway-sdk, for where that is not installed.
STAND_IN = """\
def define_railway(program):
    return program

def preserve():
    return {"type": "preserve"}

def service(name, **fields):
    taken = {"build", "deploy", "env"}
    assert set(fields) <= taken, fields
    variables = {"variables": fields.pop("env")} if "env" in fields else {}
    return {"address": f"service.{name}", "type": "service", "kind": "empty", "name": name, **fields, **variables}

def project(name, *, resources):
    return {"name": name, "resources": resources}
"""
HAS_SDK = importlib.util.find_spec("railway_sdk") is not None


@pytest.fixture(
    params=[
        "stand-in",
        pytest.param("real", marks=pytest.mark.skipif(not HAS_SDK, reason="railway-sdk is not installed here")),
    ]
)
def evaluate(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    """Return a function that evaluates a program in a process of its own, as `railway config plan` does."""

    def run(program: str) -> dict[str, Any]:
        folder = tmp_path / "evaluation"
        folder.mkdir()
        (folder / "railway.py").write_text(program, "utf-8")
        if request.param == "stand-in":
            (folder / "railway_sdk.py").write_text(STAND_IN, "utf-8")
        command = [sys.executable, "-c", EVALUATE, str(folder / "railway.py")]
        places = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
        environ = {**os.environ, "PYTHONPATH": places, "PYTHONUTF8": "1"}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return run


def test_program_declares_every_service_as_the_api_would_be_told(load: Load, evaluate: Any) -> None:
    loaded = load(FULL)
    processes = {"web": "not used", "jobs": "work \\ \"all\" 'of' it \N{MUSICAL SYMBOL G CLEF}"}
    variables = {"web": {"TOKEN", "DATABASE_URL"}, "jobs": set[str]()}
    program = render_program(loaded, loaded.environment("staging"), processes=processes, variables=variables)
    assert "\N{MUSICAL SYMBOL G CLEF}" in program
    found = evaluate(program)
    assert (found["partial"], found["project"]["name"]) == ("shop", "shop")
    web, jobs = found["project"]["resources"]
    assert (web["name"], jobs["name"]) == ("shop-web", "shop jobs")
    assert web["build"] == jobs["build"] == {"builder": "DOCKERFILE", "dockerfilePath": "Dockerfile.slim"}
    for service, declared in (
        (web, declare(loaded)),
        (jobs, declare(loaded, kind="jobs", start_command=processes["jobs"])),
    ):
        assert service["deploy"] == {name: value for name, value in declared.items() if name != "dockerfilePath"}
    assert web["variables"] == {"DATABASE_URL": {"type": "preserve"}, "TOKEN": {"type": "preserve"}}
    assert "variables" not in jobs


def test_program_of_a_project_that_declares_nothing_is_one_service(load: Load, evaluate: Any) -> None:
    loaded = load(BARE)
    text = render_program(loaded, loaded.environment("local"), processes={"web": "serve"}, variables={})
    (web,) = evaluate(text)["project"]["resources"]
    assert web["name"] == "shop"
    assert web["deploy"]["startCommand"] == "serve"
    assert "build" not in web
    assert "preserve" not in text


def test_name_that_no_part_of_a_project_may_have_is_refused(load: Load) -> None:
    loaded = load(f'[tool.fairlead]\nname = "{"x" * 65}"\n')
    with pytest.raises(ConfigurationError, match="cannot name a part"):
        render_program(loaded, loaded.environment("local"), processes={}, variables={})
