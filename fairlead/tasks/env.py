"""`env.*`: the variables that the application reads: their documents, and whether an environment has them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairlead import _output
from fairlead.exceptions import ConfigurationError
from fairlead.tasks._act import act

if TYPE_CHECKING:
    from fairlead.config import Config, EnvironmentConfig
    from fairlead.environment.checking import Service, Verdict
    from fairlead.environment.description import Description

_PYTHON = "an interpreter that has the application's packages, instead of a release's"


@act(
    help={
        "env": "the environment: local, staging, production …",
        "file": "look at this .env file instead, as for that environment",
        "process": "look at the variables of this very process instead, as for that environment",
        "names-only": "look at the names alone, at no value",
        "python": _PYTHON,
        "json": "print JSON for a program to read",
    }
)
def check(
    env: str = "local",
    file: str = "",
    process: bool = False,
    names_only: bool = False,
    python: str = "",
    json: bool = False,
) -> None:
    """Say which variables of an environment are missing, malformed or misspelt: by name, never by value."""
    from fairlead import config
    from fairlead.environment import application as asking
    from fairlead.environment import checking

    loaded = config.load()
    environment = loaded.environment(env)
    if file and process:
        raise ConfigurationError("--file and --process exclude each other", hint="pass one of them")
    application = asking.find_application(loaded, python=_find_python(loaded, python))
    described = application.describe()
    services = tuple(_find_services(loaded, environment, described, file=file, process=process))
    verdicts = checking.judge_all(
        services,
        described=described,
        application=None if names_only else application,
        deployed=environment.platform != "local",
    )
    if json:
        source = "file" if file else "process" if process else environment.platform
        found = [_plain(verdict, described) for verdict in verdicts]
        _output.result_json({"environment": env, "source": source, "values_checked": not names_only, "services": found})
    _tell(verdicts, described, names_only=names_only, page=_page(loaded))


@act(
    help={
        "check": "write nothing; fail, and show how they differ, when the documents are not what would be written",
        "python": _PYTHON,
    }
)
def docs(check: bool = False, python: str = "") -> None:
    """Write the page and the example of the application's variables, from what its settings declare."""
    from fairlead import config
    from fairlead.environment import application as asking
    from fairlead.environment import documents

    loaded = config.load()
    described = asking.find_application(loaded, python=_find_python(loaded, python)).describe()
    example = loaded.env.example or loaded.backend / ".env.example"
    texts = {_page(loaded): documents.render_page(described), example: documents.render_example(described)}
    count = len(described.variables)
    if not check:
        for file in documents.write(texts):
            _output.status("ok", f"{file} written")
        _output.status("ok", f"the documents say what the settings declare ({count} variables)")
        return
    stale = documents.find_stale(texts)
    for diff in stale:
        _output.result(diff.rstrip())
    if stale:
        what = "1 document is" if len(stale) == 1 else f"{len(stale)} documents are"
        raise ConfigurationError(f"{what} not what the settings declare", hint="invoke env.docs")
    _output.status("ok", f"the documents say what the settings declare ({count} variables)")


def _page(loaded: "Config") -> Path:
    return loaded.env.page or loaded.backend / "ENVIRONMENT_VARIABLES.md"


def _find_python(loaded: "Config", python: str) -> Path:
    if python or loaded.env.describe[:1] != ("python",):
        return Path(python or "python")
    from fairlead import localplatform

    return localplatform.prepare_environment(loaded, loaded.backend / "requirements.txt")


def _find_services(
    loaded: "Config", environment: "EnvironmentConfig", described: "Description", *, file: str, process: bool
) -> Iterator["Service"]:
    """Yield each service with its variables: those of a file, of this process, or of the environment's platform."""
    from fairlead.environment.checking import Service

    if file:
        from fairlead.environment.file import load_variables

        yield Service(file, load_variables(Path(file)))
    elif process:
        yield Service("this process", loaded.environ)
    elif environment.platform == "local":
        from fairlead import localplatform

        yield Service(loaded.name, localplatform.release_environment(loaded))
    else:
        from fairlead.tasks.releases import open_target

        public = {one.name for one in described.variables if not one.secret}
        with open_target(loaded, environment, start=False) as target:
            place = {"project_id": target.project_id, "environment_id": target.environment_id}
            for service in target.services:
                found = target.client.fetch_variables(**place, service_id=service.id, public=public)
                yield Service(service.name, found)


def _tell(verdicts: Sequence["Verdict"], described: "Description", *, names_only: bool, page: Path) -> None:
    """Say what was found; raise `ConfigurationError` where anything is wrong."""
    problems: list[str] = []
    for verdict in verdicts:
        for note in verdict.notes:
            _output.status("warn", f"{verdict.service}: {note}")
        for problem in verdict.problems:
            variable = described.find(problem.variable)
            expected = f". Expected: {variable.expected}" if variable is not None else ""
            problems.append(f"{verdict.service}: {problem.variable} {problem.reason}{expected}")
    if problems:
        count = "1 variable is" if len(problems) == 1 else f"{len(problems)} variables are"
        raise ConfigurationError(
            f"{count} not as they have to be", problems=tuple(problems), hint=f"set them; {page} explains each one"
        )
    for verdict in verdicts:
        looked = f"{verdict.service}: {len(verdict.present)} of {len(described.variables)} variables are set"
        if names_only:
            _output.status("ok", f"{looked}, and none that is needed is missing; no value was looked at")
        else:
            _output.status("ok", f"{looked}, and the application takes their values")
        if verdict.unread and not names_only:
            _output.status("warn", f"{verdict.service}: sealed, so not looked at: {', '.join(verdict.unread)}")


def _plain(verdict: "Verdict", described: "Description") -> dict[str, Any]:
    problems = []
    for one in verdict.problems:
        variable = described.find(one.variable)
        expected = variable.expected if variable is not None else None
        problems.append({"variable": one.variable, "kind": one.kind, "reason": one.reason, "expected": expected})
    facts = {"service": verdict.service, "set": list(verdict.present), "problems": problems}
    return {**facts, "notes": list(verdict.notes), "not_looked_at": list(verdict.unread)}


ACTS = (check, docs)
