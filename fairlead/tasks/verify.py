"""`verify`: health, version and the end-to-end suites of a live service, in one table and one exit code."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fairlead import _output
from fairlead.tasks._act import act

if TYPE_CHECKING:
    from fairlead.config import Config, EnvironmentConfig
    from fairlead.verification import Conclusion, Report, Suite, SuiteResult

_PROBED_WITHIN: Final = 30.0


@act(
    help={
        "env": "the environment: local, staging, production …",
        "url": "check this address instead of an environment's",
        "digest": "ask for this digest",
        "smoke": "only the quick part of every suite; also SMOKE_TEST=true",
        "probes": "health and version alone, without the suites",
        "json": "print JSON for a program to read",
    }
)
def verify(
    env: str = "local",
    url: str = "",
    digest: str = "",
    smoke: bool = False,
    probes: bool = False,
    json: bool = False,
) -> None:
    """Check a live service: health, digest, and every end-to-end suite. 1 to 3: that suite failed; 4: unhealthy."""
    from fairlead import config

    loaded = config.load()
    environment = None if url else loaded.environment(env)
    started = time.monotonic()
    told: dict[str, Any] = {"url": url.rstrip("/") or None, "environment": environment.name if environment else None}
    try:
        _verify(loaded, environment, told, digest=digest, smoke=smoke or _wants_smoke(loaded), probes=probes)
    except BaseException as error:
        if "smoke" in told and "suites" not in told:
            told["reason"] = getattr(error, "message", "interrupted")
        _record(loaded, told, seconds=time.monotonic() - started, error=error)
        raise
    finally:
        if json and "verdict" in told:
            _output.result_json({name: value for name, value in told.items() if name != "shown"})
        elif shown := told.get("shown"):
            _show(shown)
    _record(loaded, told, seconds=time.monotonic() - started)
    _output.status("ok", told["sentence"])
    if told["note"]:
        _output.status("note", told["note"])


def _verify(
    loaded: "Config",
    environment: "EnvironmentConfig | None",
    told: dict[str, Any],
    *,
    digest: str,
    smoke: bool,
    probes: bool,
) -> None:
    """Probe the service, then run its suites; `told` takes what is found out on the way, for whoever reads."""
    from fairlead import deploy as deploying
    from fairlead.verification import Verdict

    where = told["url"] = told["url"] or _public_url(loaded, environment)
    wanted = digest or (deploying.find_recorded_digest(loaded, environment) if environment else None)
    suites = () if probes else deploying.find_suites(loaded)
    report = _probe(loaded, where, wanted)
    told |= {"verdict": report.verdict, "reason": report.reason, "digest": report.digest, "probes": _tell(report)}
    _refuse_probes(where, report)
    unasked = "no verdict on record here says which digest should serve, so any was accepted; --digest asks for one"
    told["note"] = None if wanted else unasked
    told["sentence"] = f"{where} is healthy and serves {report.digest or 'no digest'}"
    if not suites:
        return
    # Until the suites have said something, nothing is known of what they check.
    told |= {"verdict": Verdict.INCONCLUSIVE, "reason": "the suites have not been run", "smoke": smoke}
    results, conclusion = _check(loaded, environment, where, suites, smoke=smoke)
    told |= {"shown": results, "suites": [_tell_suite(one) for one in results]}
    told |= {"verdict": conclusion.verdict, "reason": conclusion.reason}
    _refuse_suites(where, conclusion, results[0].log.parent)
    told["sentence"] += f"; {conclusion.reason}"


def _check(
    loaded: "Config", environment: "EnvironmentConfig | None", where: str, suites: "tuple[Suite, ...]", *, smoke: bool
) -> "tuple[tuple[SuiteResult, ...], Conclusion]":
    from fairlead import deploy as deploying
    from fairlead.verification import conclude

    results = deploying.run_suites(
        loaded, environment, where, suites, smoke=smoke, note=lambda text: _output.status("note", text), on_result=_say
    )
    return results, conclude(results)


def _probe(loaded: "Config", where: str, wanted: str | None) -> "Report":
    from fairlead import verification

    probes = (verification.Probe("health", loaded.health_path), verification.Probe("version", loaded.version_path))
    return verification.wait_for_release(
        where, probes, digest=wanted, confirmations=loaded.deploy.confirmations, timeout=_PROBED_WITHIN
    )


def _refuse_probes(where: str, report: "Report") -> None:
    from fairlead.exceptions import InconclusiveError, VerificationError
    from fairlead.verification import Verdict

    if report.verdict is Verdict.UNHEALTHY:
        raise VerificationError(
            f"{where} is unhealthy: {report.reason}", hint="invoke platform.logs, or the platform's own log"
        )
    if report.verdict is Verdict.INCONCLUSIVE:
        raise InconclusiveError(
            f"{where} could not be checked: {report.reason}", hint="is it running, and is that its address?"
        )


def _refuse_suites(where: str, conclusion: "Conclusion", logs: Path) -> None:
    from fairlead import exceptions

    if conclusion.exit_code == 0:
        return
    kinds = (
        exceptions.FirstSuiteError,
        exceptions.SecondSuiteError,
        exceptions.ThirdSuiteError,
        exceptions.VerificationError,
        exceptions.InconclusiveError,
    )
    kind = next(one for one in kinds if one.exit_code == conclusion.exit_code)
    if kind is exceptions.InconclusiveError:
        hint = "give what was missing, or declare what the environment is deliberately `without`"
        raise kind(f"{where} could not be checked in full: {conclusion.reason}", hint=hint)
    raise kind(f"{where} fails its suites: {conclusion.reason}", hint=f"read the logs in {logs}")


def _say(result: "SuiteResult") -> None:
    from fairlead.verification import Outcome

    kind = {Outcome.PASSED: "ok", Outcome.FAILED: "fail", Outcome.NOT_CHECKED: "warn", Outcome.WITHOUT: "note"}
    told = f"{result.suite.name:<10} {_output.duration(result.seconds):>8}  {result.outcome}"
    why = "" if result.outcome is Outcome.PASSED or not result.reason else f": {result.reason}"
    _output.status(kind[result.outcome], told + why)


def _show(results: "tuple[SuiteResult, ...]") -> None:
    from fairlead.verification import Outcome

    columns = tuple(Outcome)
    rows = [
        (
            one.suite.name,
            str(one.outcome),
            *(str(one.count(column)) for column in columns),
            _output.duration(one.seconds),
            _shorten(one.log),
        )
        for one in results
    ]
    _output.table(("suite", "result", *map(str, columns), "time", "log"), rows)
    for one in results:
        for check in one.checks:
            if check.outcome in {Outcome.NOT_CHECKED, Outcome.WITHOUT}:
                _output.status("note", f"{check.outcome}: {one.suite.name}, {check.name}: {check.reason}")


def _tell(report: "Report") -> Mapping[str, Any]:
    return {one.probe.name: {"problem": one.problem, "ms": round(one.seconds * 1000, 1)} for one in report.answers}


def _tell_suite(result: "SuiteResult") -> Mapping[str, Any]:
    from dataclasses import asdict

    from fairlead.verification import Outcome

    return {
        "name": result.suite.name,
        "result": result.outcome,
        "reason": result.reason,
        "exit_code": result.exit_code,
        **{outcome.replace(" ", "_"): result.count(outcome) for outcome in Outcome},
        "seconds": round(result.seconds, 3),
        "log": str(result.log),
        "junit": str(result.log.with_suffix(".xml")),
        "checks": [asdict(check) for check in result.checks],
    }


def _record(loaded: "Config", told: Mapping[str, Any], *, seconds: float, error: BaseException | None = None) -> None:
    """Write the verdict into the history; where that cannot be done it is told and changes nothing else."""
    from fairlead import build
    from fairlead.exceptions import Error, VerificationError
    from fairlead.history import Event, History

    if error is not None and not isinstance(error, VerificationError | KeyboardInterrupt):
        return  # nothing was verified: the configuration is at fault, or it is not its turn
    if told["url"] is None:
        return
    verdict = "interrupted" if isinstance(error, KeyboardInterrupt) else str(told.get("verdict", "inconclusive"))
    event = Event(
        name="verify",
        verdict=verdict,
        environment=told["environment"],
        digest=told.get("digest"),
        actor=build.user(),
        duration=round(seconds, 3),
        steps={one["name"]: one["seconds"] for one in told.get("suites", ())},
        detail=f"{told['url']}: {told.get('reason') or error}",
    )
    try:
        History(loaded.state_dir).append(event)
    except Error as failure:
        _output.status("warn", f"this is not on record: {failure.message}")


def _wants_smoke(loaded: "Config") -> bool:
    return loaded.environ.get("SMOKE_TEST", "").strip().lower() in {"1", "true", "yes", "on"}


def _shorten(path: Path) -> str:
    """Return a path from here, where that is shorter to read."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _public_url(loaded: "Config", environment: "EnvironmentConfig | None") -> str:
    from fairlead import localplatform
    from fairlead.exceptions import ConfigurationError, InconclusiveError

    if environment is not None and environment.platform != "local":
        if environment.url:
            return environment.url
        where = f"tool.fairlead.environments.{environment.name}.url"
        raise ConfigurationError(f"{where} is missing", hint="declare it, or pass --url")
    endpoint = localplatform.find(loaded)
    if endpoint is None:
        raise InconclusiveError("the local platform is not running", hint="invoke deploy --env local, or pass --url")
    return endpoint.public_url
