"""The rule for workflows. A job is, in this order:

1. `actions/checkout`, which keeps no credentials
2. `actions/setup-python`
3. what the call needs and no lock can give: Trivy, the files of another job
4. `python -m pip install --require-hashes --requirement requirements.txt`: the runners, from the lock
5. one call of nox or invoke
6. `actions/upload-artifact`, for 90 days: once, or one for each thing that another job takes by itself

The jobs in `WITHOUT_CODE` are the exceptions, and the only ones that may write to GitHub: they run nothing of this
repository. Every gate is called by some job, and no tool is run but by a gate.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nox.registry
import pytest
import yaml

import noxfile
from backend.tests.performance.world import SERVED
from fairlead import config
from fairlead.gates import protection
from fairlead.security import __main__ as program
from fairlead.security import kingfisher, results, sbom, trivy
from fairlead.tasks import find_act
from fairlead.tasks.arguments import parser_of

ROOT = Path(noxfile.__file__).parent
WORKFLOWS = {path.name: path for path in sorted((ROOT / ".github" / "workflows").glob("*.y*ml"))}
INSTALL = "python -m pip install --require-hashes --requirement requirements.txt"
CALL = re.compile(r"(?:nox -s|invoke) [\w \"$./-]+(?: -- [\w ./=-]+)?")
PUBLISH = 'gh release create "$GITHUB_REF_NAME" --repo "$GITHUB_REPOSITORY" --verify-tag --generate-notes release/*/*'
#: Whoever starts it, a bundle is promoted by what is on main, and only as staging's own workflow made and signed it.
FROM_MAIN = 'echo "::error::a bundle is promoted by the workflow of main, and this is $GITHUB_REF"; exit 1'
VERIFY = (
    'gh attestation verify bundle/*.tar.gz --repo "$GITHUB_REPOSITORY" --signer-workflow '
    '"$GITHUB_REPOSITORY/.github/workflows/deploy-staging.yml" --source-ref refs/heads/develop '
    "--deny-self-hosted-runners"
)
#: Downloaded to where git does not see it: a tree with files beside it is dirty.
DEPLOY_SIGNED = "invoke deploy --env production --bundle .fairlead/signed/maya-backend.tar.gz --auto-confirm"
CHECKED_OUT, UPLOAD, DOWNLOAD = "actions/checkout", "actions/upload-artifact", "actions/download-artifact"
BEFORE = {"aquasecurity/setup-trivy", DOWNLOAD}

PROVENANCE = "actions/attest-build-provenance"
ATTESTS = {"attestations", "id-token"}

#: The jobs that run no code of this repository: what each is made of, and what it may write.
WITHOUT_CODE: dict[tuple[str, str], tuple[list[str], set[str]]] = {
    ("codeql.yml", "analyse"): (
        [CHECKED_OUT, "github/codeql-action/init", "github/codeql-action/analyze"],
        {"security-events"},
    ),
    ("deploy.yml", "attest"): ([DOWNLOAD, PROVENANCE], ATTESTS),
    ("deploy.yml", "provenance"): ([FROM_MAIN, DOWNLOAD, VERIFY], set()),
    ("deploy-staging.yml", "attest"): ([DOWNLOAD, PROVENANCE], ATTESTS),
    ("release.yml", "attest"): ([DOWNLOAD, PROVENANCE, "actions/attest-sbom"], ATTESTS),
    ("release.yml", "publish"): ([DOWNLOAD, PUBLISH], {"contents"}),
    ("security-scan.yml", "report"): (
        [CHECKED_OUT, *[DOWNLOAD, "github/codeql-action/upload-sarif"] * 2],
        {"security-events"},
    ),
}


def load(path: Path) -> dict[str, Any]:
    """Read a workflow. YAML 1.1 takes its key `on` for the boolean."""
    content = yaml.safe_load(path.read_text("utf-8"))
    content["on"] = content.pop(True)
    return dict(content)


JOBS = {(file, name): job for file, path in WORKFLOWS.items() for name, job in load(path)["jobs"].items()}


def jobs() -> list[Any]:
    return [pytest.param(job, id="-".join(key)) for key, job in JOBS.items()]


def jobs_that_call() -> list[Any]:
    return [pytest.param(job, id="-".join(key)) for key, job in JOBS.items() if key not in WITHOUT_CODE]


def shape_of(job: dict[str, Any]) -> list[str]:
    """Return a job's steps: the action without its pin, or what is run."""
    return [step.get("uses", "").partition("@")[0] or step.get("run", "").strip() for step in job.get("steps", [])]


def problems_of(job: dict[str, Any]) -> list[str]:
    """Say in what a job departs from the rule."""
    whole = shape_of(job)
    installed = whole.index(INSTALL) if INSTALL in whole else len(whole)
    shape = [step for number, step in enumerate(whole) if not (1 < number < installed and step in BEFORE)]
    while shape[-1:] == [UPLOAD]:
        shape = shape[:-1]
    if len(shape) != 4:
        return [f"it has {len(shape)} steps and not four"]
    wanted = (CHECKED_OUT, "actions/setup-python", INSTALL)
    found = [
        f"{is_!r} stands where {should!r} belongs" for is_, should in zip(shape, wanted, strict=False) if is_ != should
    ]
    if not CALL.fullmatch(shape[3]):
        found.append(f"{shape[3]!r} is not one call of nox or invoke")
    if job["steps"][0].get("with", {}).get("persist-credentials") is not False:
        found.append("its checkout keeps credentials")
    if set(job.get("permissions", {}).values()) - {"read"}:
        found.append("it may write, and runs code of the repository")
    return found


def call_of(job: dict[str, Any]) -> dict[str, Any]:
    """Return the step that calls nox or invoke."""
    return next(dict(step) for step in job["steps"] if CALL.fullmatch(step.get("run", "").strip()))


def gates_called(step: dict[str, Any], matrix: dict[str, list[str]]) -> set[str]:
    """Return the sessions that a job's call runs, for each entry of its matrix."""
    words = step["run"].strip().partition(" -- ")[0].removeprefix("nox -s ").replace('"', "")
    for name, value in step.get("env", {}).items():
        words = words.replace(f"${name}", str(value))
    variants = [words]
    for name, values in matrix.items():
        variants = [text.replace(f"${{{{ matrix.{name} }}}}", value) for text in variants for value in values]
    return {word for text in variants for word in text.split()}


def with_required(names: set[str]) -> set[str]:
    """Add to sessions those that they require."""
    gates = nox.registry.get()
    found: set[str] = set()
    queue = sorted(names)
    while queue:
        name = queue.pop()
        if name not in found:
            found.add(name)
            queue += gates[name].requires
    return found


@pytest.mark.parametrize("job", jobs_that_call())
def test_a_job_is_checkout_python_the_lock_and_one_call(job: dict[str, Any]) -> None:
    assert problems_of(job) == []


@pytest.mark.parametrize("key", WITHOUT_CODE, ids="-".join)
def test_the_exceptions_are_what_they_are_named_for_and_write_what_they_must(key: tuple[str, str]) -> None:
    writes = {name for name, may in JOBS[key]["permissions"].items() if may != "read"}
    assert (shape_of(JOBS[key]), writes) == WITHOUT_CODE[key]


def test_actions_are_pinned_by_commit_with_the_version_beside_and_each_by_one() -> None:
    pins: dict[str, set[str]] = {}
    for path in WORKFLOWS.values():
        for line in path.read_text("utf-8").splitlines():
            if "uses:" in line:
                match = re.fullmatch(r" +(?:- )?uses: ([\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)", line)
                assert match, f"{path.name}: {line}"
                action, _, pin = match[1].partition("@")
                pins.setdefault("/".join(action.split("/")[:2]), set()).add(pin)
    assert {action: found for action, found in pins.items() if len(found) > 1} == {}


def test_trivy_is_none_of_those_that_were_compromised() -> None:
    steps = [step for job in JOBS.values() for step in job["steps"] if "trivy" in step.get("uses", "").lower()]
    assert {step["uses"] for step in steps} == {"aquasecurity/setup-trivy@3fb12ec12f41e471780db15c232d5dd185dcb514"}
    assert not {step["with"]["version"].removeprefix("v") for step in steps} & {*trivy.COMPROMISED, "latest"}


@pytest.mark.parametrize("job", jobs())
def test_every_job_ends_and_runs_on_a_machine_with_a_version(job: dict[str, Any]) -> None:
    assert job["runs-on"] == "ubuntu-24.04"
    assert job["timeout-minutes"] <= 60
    for step in job["steps"]:
        if step.get("uses", "").startswith(CHECKED_OUT):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("job", jobs())
def test_files_are_kept_for_90_days_and_a_job_that_is_run_again_can_keep_them_too(job: dict[str, Any]) -> None:
    for step in job["steps"]:
        if step.get("uses", "").startswith(UPLOAD):
            assert step["with"]["retention-days"] == 90
            assert step["with"]["if-no-files-found"] == "error"
            # A run has one artifact of a name, and all attempts are one run: without either, the second one fails.
            assert step["with"].get("overwrite") is True or "github.run_attempt" in step["with"]["name"]


@pytest.mark.parametrize("file", sorted(WORKFLOWS))
def test_no_secret_is_within_reach_of_a_pull_request(file: str) -> None:
    workflow = load(WORKFLOWS[file])
    assert not set(workflow["on"]) & {"pull_request_target", "workflow_run", "issue_comment"}
    for name, job in workflow["jobs"].items():
        if "secrets." in str(job):
            assert "pull_request" not in workflow["on"], name
            assert job["environment"] in {"staging", "production"}, name
    assert "secrets." not in str({name: part for name, part in workflow.items() if name != "jobs"})


ALWAYS = "always()"


def conditions() -> list[Any]:
    found = [(file, name, job["if"]) for (file, name), job in JOBS.items() if "if" in job]
    return [pytest.param(*one, id="-".join(one[:2])) for one in found]


@pytest.mark.parametrize(("file", "name", "condition"), conditions())
def test_a_job_is_left_out_for_what_was_asked_and_never_for_where_it_was_started(
    file: str, name: str, condition: str
) -> None:
    """A job that is left out is green: from the wrong branch a deploy fails, and does not pass without deploying."""
    assert "github.ref" not in condition
    assert ALWAYS not in condition, "a run that was cancelled has nothing to show"


def test_every_gate_is_called_by_a_job() -> None:
    called: set[str] = set()
    for key, job in JOBS.items():
        if key not in WITHOUT_CODE and (step := call_of(job))["run"].startswith("nox"):
            called |= gates_called(step, job.get("strategy", {}).get("matrix", {}))
    gates = set(nox.registry.get())
    assert called <= gates
    assert gates - with_required(called) == set()


def test_every_act_that_is_called_exists_and_takes_these_options() -> None:
    calls = [call_of(job)["run"].split() for key, job in JOBS.items() if key not in WITHOUT_CODE]
    acts = [words[1:] for words in calls if words[0] == "invoke"]
    assert acts
    for name, *options in acts:
        declared = find_act(name)
        assert declared, name
        parser_of(name, declared).parse_args(options)


def test_the_security_gate_takes_the_options_that_it_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    options = call_of(JOBS["security-scan.yml", "security"])["run"].partition(" -- ")[2].split()
    with pytest.raises(SystemExit, match="0"):
        program.main(["--help"])
    # Against the live advisories, with every tool: what makes the gate look at less is for other machines.
    assert options == ["--history"]
    assert set(options) <= set(re.findall(r"--[\w-]+", capsys.readouterr().out))


@pytest.mark.parametrize("file", sorted(WORKFLOWS))
def test_a_workflow_may_read_only_and_ends_what_it_replaces(file: str) -> None:
    workflow = load(WORKFLOWS[file])
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["group"]


@pytest.mark.parametrize("file", sorted(WORKFLOWS))
def test_no_workflow_forces_colours_on_tools_whose_words_are_read(file: str) -> None:
    # Tests look for what tools say, and so do those that plant defects; a colour stands in the middle of it.
    assert not re.search(r"(?:FORCE_COLOR|CLICOLOR_FORCE)\b", WORKFLOWS[file].read_text("utf-8"))


def test_the_backends_workflow_runs_on_every_pull_request_by_hand_and_for_the_pushes_that_it_concerns() -> None:
    triggers = load(WORKFLOWS["backend-ci.yml"])["on"]
    assert set(triggers) == {"push", "pull_request", "workflow_dispatch"}
    assert triggers["push"]["branches"] == ["main", "develop"]
    assert {"backend/**", "fairlead/**", "pyproject.toml", "requirements*.txt"} <= set(triggers["push"]["paths"])
    # Its checks are required, and GitHub waits without end for a required check that a filter left out.
    assert triggers["pull_request"] == {"branches": ["main", "develop"]}


def test_the_image_is_built_and_scanned_of_every_pull_request() -> None:
    # The platform builds from the same Dockerfile: what breaks it would be found by a deploy.
    job = JOBS["security-scan.yml", "image"]
    assert call_of(job)["run"] == "nox -s image"
    assert "if" not in job
    assert job["steps"][0]["with"]["fetch-depth"] == 0
    assert trivy_of(job) == trivy_of(JOBS["security-scan.yml", "security"])


@pytest.mark.parametrize(("file", "fields"), [("security-scan.yml", "* * *"), ("codeql.yml", "* * [0-6]")])
def test_what_is_looked_for_without_a_change_runs_by_the_clock(file: str, fields: str) -> None:
    triggers = load(WORKFLOWS[file])["on"]
    assert set(triggers) == {"push", "pull_request", "schedule", "workflow_dispatch"}
    assert triggers["push"] == triggers["pull_request"] == {"branches": ["main", "develop"]}
    (clock,) = triggers["schedule"]
    assert re.fullmatch(r"\d+ \d+ " + fields.replace("*", r"\*"), clock["cron"])


@pytest.mark.parametrize(("job", "name"), [("security", results.FOLDER), ("image", "image")])
def test_what_was_found_is_shown_beside_the_code_also_where_it_failed(job: str, name: str) -> None:
    gate, report = JOBS["security-scan.yml", job], JOBS["security-scan.yml", "report"]
    folder = (config.load(ROOT, environ={}).state_dir / name).relative_to(ROOT).as_posix()
    (kept_step,) = kept(gate).values()
    fetched, shown = (step for step in report["steps"] if folder in step["with"].values())
    assert kept_step["if"] == "${{ !cancelled() }}"
    assert report["if"].startswith("${{ !cancelled() && (")
    assert needs_of(report) == {"security", "image"}
    assert (kept_step["with"]["path"], fetched["with"]["path"], shown["with"]["sarif_file"]) == (folder,) * 3
    assert kept_step["with"]["name"] == fetched["with"]["name"]
    # One that cannot be shown keeps nothing else from being shown.
    assert all(step["if"] == "${{ !cancelled() }}" for step in report["steps"][3:])


def test_what_was_found_is_told_apart_by_tool_and_category() -> None:
    shown = [step["with"] for step in JOBS["security-scan.yml", "report"]["steps"] if "sarif_file" in step["with"]]
    assert len({one["category"] for one in shown}) == len(shown) == 2
    # GitHub takes twenty at a time.
    assert len({*program.RUNNERS, kingfisher.HISTORY}) == len(program.RUNNERS) + 1 <= 20


def trivy_of(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return the step that installs Trivy."""
    (step,) = (step for step in job["steps"] if "setup-trivy" in step.get("uses", ""))
    return dict(step)


def test_codeql_looks_at_the_code_and_at_the_workflows_with_the_wider_queries() -> None:
    job = JOBS["codeql.yml", "analyse"]
    assert job["strategy"]["matrix"] == {"language": ["python", "actions"]}
    assert job["steps"][1]["with"]["queries"] == "security-extended"


@pytest.mark.parametrize(
    ("file", "name", "environment", "call", "needs"),
    [
        ("deploy-staging.yml", "deploy", "staging", "invoke deploy --env staging --auto-confirm", {"gates"}),
        ("deploy.yml", "deploy", "production", DEPLOY_SIGNED, {"gates", "attest"}),
        (
            "deploy.yml",
            "promote",
            "production",
            "invoke promote --from staging --to production --auto-confirm",
            {"provenance"},
        ),
    ],
)
def test_a_deploy_waits_for_its_gates_and_goes_alone(
    file: str, name: str, environment: str, call: str, needs: set[str]
) -> None:
    job = JOBS[file, name]
    assert needs_of(job) == needs
    assert job["environment"] == environment
    assert call_of(job)["run"] == call
    concurrency = load(WORKFLOWS[file])["concurrency"]
    assert concurrency["group"] == f"deploy-{environment}"
    assert concurrency["cancel-in-progress"] is False
    assert job["steps"][0]["with"]["fetch-depth"] == 0
    # What needs a job that was left out is left out; a condition with a status function would run it all the same.
    assert "if" not in job


def test_what_is_deployed_is_what_was_signed() -> None:
    (signed,) = (
        step["with"]["path"] for step in JOBS["deploy.yml", "attest"]["steps"] if step["uses"].startswith(DOWNLOAD)
    )
    (made,) = kept(JOBS["deploy.yml", "bundle"]).values()
    deploy = JOBS["deploy.yml", "deploy"]
    given = [step["with"] for step in deploy["steps"] if step.get("uses", "").startswith(DOWNLOAD)]
    assert given == [{"name": made["with"]["name"], "path": ".fairlead/signed"}]
    assert made["with"]["path"] == signed == "bundle"


def needs_of(job: dict[str, Any]) -> set[str]:
    """Return the jobs that a job waits for."""
    asked = job.get("needs", [])
    return {asked} if isinstance(asked, str) else set(asked)


def test_a_promotion_that_waits_is_not_dropped_for_what_is_pushed_meanwhile() -> None:
    # A run that waits for its reviewer holds the group, and of those behind it GitHub keeps the newest by default.
    assert load(WORKFLOWS["deploy.yml"])["concurrency"]["queue"] == "max"


def kept(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the uploads of a job, by the name of what they keep."""
    return {step["with"]["name"]: step for step in job["steps"] if step.get("uses", "").startswith(UPLOAD)}


@pytest.mark.parametrize("name", ["deploy", "promote"])
def test_production_keeps_the_record_and_the_bundle_of_each_attempt(name: str) -> None:
    ((kept_as, step),) = kept(JOBS["deploy.yml", name]).items()
    assert step["if"] == ALWAYS
    assert step["with"]["path"].split() == [".fairlead/history.jsonl", ".fairlead/bundles/"]
    assert kept_as == "release-${{ github.run_attempt }}"


def test_what_staging_keeps_can_be_promoted_whichever_attempt_sent_it() -> None:
    # A deploy that could not be checked is run again, which sends nothing: the record is the second attempt's and the
    # bundle the first one's. With both in one artifact, one of them would be lost.
    made, promote = JOBS["deploy-staging.yml", "deploy"], JOBS["deploy.yml", "promote"]
    record, bundle = kept(made)["record"], kept(made)["bundle"]
    assert record["if"] == ALWAYS
    assert record["with"]["path"] == ".fairlead/history.jsonl"
    assert bundle["if"] == "always() && hashFiles('.fairlead/bundles/*.tar.gz') != ''"
    assert bundle["with"]["path"] == ".fairlead/bundles/"
    fetched = {step["with"]["name"]: step["with"] for step in promote["steps"] if DOWNLOAD in step.get("uses", "")}
    assert {name: one["path"] for name, one in fetched.items()} == {
        "record": ".fairlead",
        "bundle": ".fairlead/bundles",
    }
    assert {one["run-id"] for one in fetched.values()} == {"${{ inputs.staging-run }}"}


def test_the_bundle_that_is_promoted_was_signed_by_stagings_workflow() -> None:
    attest, check = JOBS["deploy-staging.yml", "attest"]["steps"], JOBS["deploy.yml", "provenance"]
    # A pattern that fits nothing is no error: there is no bundle where nothing was sent.
    assert attest[0]["with"] == {"pattern": "bundle", "path": "bundle", "merge-multiple": True}
    assert attest[1]["if"] == "hashFiles('bundle/*.tar.gz') != ''"
    assert check["if"] == "inputs.staging-run != ''"
    assert check["permissions"] == {"actions": "read", "attestations": "read", "contents": "read"}
    assert check["steps"][0]["if"] == "github.ref != 'refs/heads/main'"
    assert check["steps"][1]["with"]["name"] == "bundle"
    assert check["steps"][1]["with"]["run-id"] == "${{ inputs.staging-run }}"


def test_nothing_is_signed_before_its_gates_have_passed() -> None:
    signing = {key: needs_of(job) for key, job in JOBS.items() if "id-token" in job.get("permissions", {})}
    assert len(signing) == 3
    for key, needs in signing.items():
        assert needs & {"gates", "deploy"}, key


def test_deploys_and_releases_come_from_where_they_should() -> None:
    triggers = {name: load(WORKFLOWS[f"{name}.yml"])["on"] for name in ("deploy-staging", "deploy", "release")}
    # A version, and neither a pre-release of one nor any word that begins with a v.
    versions = ["v[0-9]+.[0-9]+.[0-9]+"]
    assert triggers["deploy-staging"]["push"] == {"branches": ["develop"]}
    assert triggers["deploy"]["push"] == {"branches": ["main"], "tags": versions}
    assert triggers["release"] == {"push": {"tags": versions}}
    assert all("workflow_dispatch" in triggers[name] for name in ("deploy", "deploy-staging"))


def test_a_release_signs_and_publishes_the_files_that_its_jobs_make() -> None:
    attest, publish = JOBS["release.yml", "attest"], JOBS["release.yml", "publish"]
    bill = sbom.file_name("backend/requirements.txt")
    assert {name: kept(JOBS["release.yml", name])[name]["with"]["path"] for name in ("bundle", "sbom")} == {
        "bundle": "bundle",
        "sbom": "sbom",
    }
    assert call_of(JOBS["release.yml", "bundle"])["run"].startswith("invoke build --output bundle/")
    assert call_of(JOBS["release.yml", "sbom"])["run"] == "invoke security.sbom --output sbom"
    fetched, provenance, listed = attest["steps"]
    assert fetched["with"] == publish["steps"][0]["with"] == {"path": "release"}
    assert provenance["with"]["subject-path"] == listed["with"]["subject-path"] == "release/bundle/*.tar.gz"
    assert listed["with"]["sbom-path"] == f"release/sbom/{bill}"
    assert needs_of(publish) == {"attest"}


@pytest.mark.parametrize("name", ["deploy", "promote"])
def test_production_looks_up_who_approved_its_run(name: str) -> None:
    job = JOBS["deploy.yml", name]
    assert job["permissions"] == {"actions": "read", "contents": "read"}
    assert call_of(job)["env"]["GITHUB_TOKEN"] == "${{ github.token }}"


def test_performance_is_measured_where_what_is_served_or_how_it_is_measured_changed() -> None:
    paths = set(load(WORKFLOWS["performance.yml"])["on"]["pull_request"]["paths"])
    assert "backend/Procfile" in SERVED
    assert {path if (ROOT / path).is_file() else f"{path}/**" for path in SERVED} <= paths
    assert {"pyproject.toml", "noxfile.py", "fairlead/gates/_history.py"} <= paths


def test_the_suites_run_in_full_on_main_weekly_and_by_hand_and_their_quick_part_on_pull_requests() -> None:
    workflow = load(WORKFLOWS["e2e.yml"])
    assert workflow["on"]["push"] == {"branches": ["main"]}
    assert set(workflow["on"]) == {"push", "pull_request", "schedule", "workflow_dispatch"}
    assert [len(one["cron"].split()) for one in workflow["on"]["schedule"]] == [5]
    assert workflow["jobs"]["suites"]["env"] == {"SMOKE_TEST": "${{ github.event_name == 'pull_request' }}"}


@pytest.mark.parametrize("file", sorted(name for name in WORKFLOWS if "pull_request" in load(WORKFLOWS[name])["on"]))
def test_what_github_calls_the_checks_of_a_pull_request_and_when_it_makes_them_is_certain(file: str) -> None:
    """`protection` names the required checks by these rules; GitHub knows more, and calls a check otherwise by them."""
    workflow = load(WORKFLOWS[file])
    assert set(workflow["on"]["pull_request"]) <= {"branches", "paths"}
    for name, job in workflow["jobs"].items():
        assert "uses" not in job, "a called workflow's checks have two names"
        matrix = job.get("strategy", {}).get("matrix", {})
        assert not set(matrix) & {"include", "exclude"}, name
        assert set(re.findall(r"matrix\.([\w-]+)", job["name"])) == set(matrix), "the rest would be added in brackets"
        # A job that waits for one that is left out is left out too, and counts as passed.
        needed = [workflow["jobs"][other] for other in needs_of(job)]
        assert "if" in job or not [other["name"] for other in needed if "if" in other], name


def secrets_of(environment: str) -> set[str]:
    """Return the names of the secrets that the jobs of an environment are given."""
    deploying = [str(job) for job in JOBS.values() if job.get("environment") == environment]
    return {name for job in deploying for name in re.findall(r"secrets\.(\w+)", job)}


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_a_deploying_job_is_given_what_its_environment_declares_and_the_page_lists_that(environment: str) -> None:
    loaded = config.load(ROOT, environ={}).environment(environment)
    given = secrets_of(environment)
    assert {loaded.token_env, "VERIFY_EMAIL", "VERIFY_PASSWORD"} <= given
    assert not loaded.backup or loaded.database_url_env in given
    page = (ROOT / protection.DOCUMENT).read_text("utf-8")
    (row,) = [line for line in page.splitlines() if line.startswith(f"| `{environment}` |")]
    assert set(re.findall(r"`(\w+)`", row.split("|")[4])) == given


@pytest.mark.parametrize(
    ("ref", "deployed_from"),
    [
        ("refs/heads/main", "main"),
        ("refs/tags/v1.2.3", "v1.2.3"),
        ("refs/heads/topic", "main"),
        ("refs/heads/v1.2.3", "main"),
    ],
)
def test_a_tag_is_deployed_as_what_it_is_and_no_branch_but_main_is_deployed(ref: str, deployed_from: str) -> None:
    value = call_of(JOBS["deploy.yml", "deploy"])["env"]["FAIRLEAD_ENVIRONMENTS_PRODUCTION_BRANCH"]
    match = re.fullmatch(r"\$\{\{ startsWith\(github\.ref, '([^']+)'\) && github\.ref_name \|\| '([^']+)' \}\}", value)
    assert match
    prefix, otherwise = match.groups()
    filled = ref.split("/", 2)[2] if ref.startswith(prefix) else otherwise
    loaded = config.load(ROOT, environ={"FAIRLEAD_ENVIRONMENTS_PRODUCTION_BRANCH": filled})
    # What is on another branch is refused by the deploy itself, which says so.
    assert loaded.environment("production").branch == deployed_from


def test_staging_is_asked_with_a_token_of_its_own() -> None:
    given = call_of(JOBS["deploy.yml", "promote"])["env"]
    environ = {name: value for name, value in given.items() if name.startswith("FAIRLEAD_")}
    assert len(environ) == 1
    assert config.load(ROOT, environ=environ).environment("staging").token_env == "STAGING_RAILWAY_TOKEN"


CHECKOUT = {"uses": "actions/checkout@" + "0" * 40, "with": {"persist-credentials": False}}
TRIVY = {"uses": "aquasecurity/setup-trivy@" + "0" * 40}
KEEP = {"uses": "actions/upload-artifact@" + "0" * 40}
PYTHON = {"uses": "actions/setup-python@" + "0" * 40}
NOX = {"run": "nox -s lint"}


@pytest.mark.parametrize(
    "steps",
    [
        [CHECKOUT, PYTHON, {"run": INSTALL}],
        [CHECKOUT, PYTHON, {"run": INSTALL}, NOX, {"run": "nox -s unit"}],
        [CHECKOUT, PYTHON, {"run": INSTALL}, {"run": "nox -s lint && nox -s unit"}],
        [CHECKOUT, PYTHON, {"run": INSTALL}, {"run": "nox -s lint\ninvoke deploy"}],
        [CHECKOUT, PYTHON, {"run": INSTALL}, {"run": "ruff check ."}],
        [CHECKOUT, PYTHON, {"run": "pip install nox"}, NOX],
        [PYTHON, CHECKOUT, {"run": INSTALL}, NOX],
        [{"uses": CHECKOUT["uses"]}, PYTHON, {"run": INSTALL}, NOX],
        [CHECKOUT, PYTHON, {"run": INSTALL}, TRIVY, NOX],
        [CHECKOUT, PYTHON, {"run": INSTALL}, NOX, TRIVY],
        [CHECKOUT, PYTHON, {"run": INSTALL}, KEEP, NOX],
        [CHECKOUT, PYTHON, {"run": INSTALL}, NOX, KEEP, NOX],
        [TRIVY, CHECKOUT, PYTHON, {"run": INSTALL}, NOX],
        [CHECKOUT, PYTHON, {"run": INSTALL}, {"run": "nox -s unit-${{ matrix.python }}"}],
        [CHECKOUT, PYTHON, {"run": INSTALL}, {"run": "nox -s $(cat gates)"}],
        [CHECKOUT, PYTHON, {"run": INSTALL}, {"run": "nox -s lint; curl example.com"}],
    ],
)
def test_a_job_that_departs_from_the_rule_is_caught(steps: list[dict[str, Any]]) -> None:
    assert problems_of({"steps": steps})


def test_a_job_that_may_write_and_runs_code_is_caught() -> None:
    steps = [CHECKOUT, PYTHON, {"run": INSTALL}, NOX]
    assert problems_of({"steps": steps, "permissions": {"contents": "write"}})


@pytest.mark.parametrize(
    "steps",
    [
        [CHECKOUT, PYTHON, {"run": INSTALL}, NOX],
        [CHECKOUT, PYTHON, TRIVY, {"run": INSTALL}, NOX, KEEP],
        [CHECKOUT, PYTHON, {"run": INSTALL}, NOX, KEEP, KEEP],
    ],
)
def test_a_job_that_keeps_the_rule_is_not_caught(steps: list[dict[str, Any]]) -> None:
    assert problems_of({"steps": steps, "permissions": {"contents": "read"}}) == []


def test_a_matrix_counts_for_each_of_its_entries() -> None:
    step = {"run": 'nox -s "unit-$PYTHON" lint', "env": {"PYTHON": "${{ matrix.python }}"}}
    assert gates_called(step, {"python": ["3.11", "3.14"]}) == {"unit-3.11", "unit-3.14", "lint"}
