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
    from fairlead.exceptions import InconclusiveError

    loaded = config.load()
    environment = None if url else loaded.environment(env)
    told: dict[str, Any] = {
        "url": _check_address(url) if url else None,
        "environment": environment.name if environment else None,
        "verdict": "inconclusive",
        "note": None,
    }
    try:
        _verify_and_tell(
            loaded, environment, told, digest=digest, smoke=smoke or _wants_smoke(loaded), probes=probes, json=json
        )
    except OSError as error:
        hint = "free some space, or mend the permissions of what it names, and run this again"
        raise InconclusiveError(f"it could not be checked to the end: {_say_why(error)}", hint=hint) from error
    _output.status("ok", told["sentence"])
    if told["note"]:
        _output.status("note", told["note"])


def _verify_and_tell(
    loaded: "Config",
    environment: "EnvironmentConfig | None",
    told: dict[str, Any],
    *,
    digest: str,
    smoke: bool,
    probes: bool,
    json: bool,
) -> None:
    """Verify, put the verdict on record, and print the table or the JSON: also where it was broken off."""
    from fairlead.exceptions import InconclusiveError, VerificationError

    started = time.monotonic()
    failure: BaseException | None = None
    try:
        _verify(loaded, environment, told, digest=digest, smoke=smoke, probes=probes)
    except BaseException as error:
        failure = error
        unhealthy = isinstance(error, VerificationError) and not isinstance(error, InconclusiveError)
        told["verdict"] = "unhealthy" if unhealthy else "inconclusive"
        told["sentence"] = _say_why(error)
        told.setdefault("reason", told["sentence"])
        raise
    finally:
        _record(loaded, told, seconds=time.monotonic() - started, error=failure)
        shown = told.pop("shown", None)
        if json:
            _output.result_json(told)
        elif shown:
            _show(shown)


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

    where = told["url"] = told["url"] or _public_url(loaded, environment)
    wanted = digest or (deploying.find_recorded_digest(loaded, environment) if environment else None)
    suites = () if probes else _find_suites(loaded, smoke=smoke)
    report = _probe(loaded, where, wanted)
    told |= {"digest": report.digest, "probes": _tell(report)}
    _refuse_probes(told, report)
    unasked = "no verdict on record here says which digest should serve, so any was accepted; --digest asks for one"
    alone = f"no suites: {loaded.verify.suites} holds no test_NAME.py, so health and version alone were looked at"
    told["note"] = "; ".join(([] if wanted else [unasked]) + ([] if suites or probes else [alone])) or None
    reason, checked = report.reason, ""
    if suites:
        told["smoke"] = smoke
        results, conclusion = _check(loaded, environment, where, suites, smoke=smoke)
        told |= {"shown": results, "suites": [_tell_suite(one) for one in results]}
        _refuse_suites(told, conclusion, results[0].log.parent)
        _refuse_another_release(told, _probe(loaded, where, None))
        reason, checked = conclusion.reason, f"; {conclusion.reason}"
    told |= {"verdict": "healthy", "reason": reason}
    told["sentence"] = f"{where} is healthy and serves {report.digest or 'no digest'}{checked}"


def _find_suites(loaded: "Config", *, smoke: bool) -> "tuple[Suite, ...]":
    """Return the suites; there may be none, unless a folder is named for them or their quick part is asked for."""
    from fairlead import deploy as deploying
    from fairlead.exceptions import ConfigurationError, InconclusiveError

    suites = deploying.find_suites(loaded)
    lacking = f"{loaded.verify.suites} holds no suite test_NAME.py"
    if not suites and loaded.sources["verify.suites"] != "default":
        hint = "mend the path or the names of the files, or pass --probes to leave the suites out"
        raise ConfigurationError(f"tool.fairlead.verify.suites: {lacking}", hint=hint)
    if not suites and smoke:
        raise InconclusiveError(f"no smoke check could be made: {lacking}", hint="write one, or pass --probes instead")
    return suites


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


def _refuse_probes(told: dict[str, Any], report: "Report") -> None:
    from fairlead.exceptions import InconclusiveError, VerificationError
    from fairlead.verification import Verdict

    where = told["url"]
    if report.verdict is not Verdict.HEALTHY:
        told["reason"] = report.reason
    if report.verdict is Verdict.UNHEALTHY:
        raise VerificationError(
            f"{where} is unhealthy: {report.reason}", hint="invoke platform.logs, or the platform's own log"
        )
    if report.verdict is Verdict.INCONCLUSIVE:
        raise InconclusiveError(
            f"{where} could not be checked: {report.reason}", hint="is it running, and is that its address?"
        )


def _refuse_another_release(told: dict[str, Any], after: "Report") -> None:
    """Raise where the service is not what it was when the suites began: then nobody knows what they looked at."""
    from fairlead.exceptions import InconclusiveError

    _refuse_probes(told, after)
    before = told["digest"]
    if after.digest != before:
        raise InconclusiveError(
            f"{told['url']} could not be checked in full: it served {before or 'no digest'} when the suites began, and "
            f"{after.digest or 'no digest'} when they had ended",
            hint="another release took over; run this again",
        )


def _refuse_suites(told: dict[str, Any], conclusion: "Conclusion", logs: Path) -> None:
    from fairlead import exceptions

    if conclusion.exit_code == 0:
        return
    where, told["reason"] = told["url"], conclusion.reason
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

    if error is not None and not isinstance(error, VerificationError | KeyboardInterrupt | OSError):
        return  # nothing was verified: the configuration is at fault, or it is not its turn
    if told["url"] is None:
        return
    verdict = "interrupted" if isinstance(error, KeyboardInterrupt) else str(told["verdict"])
    event = Event(
        name="verify",
        verdict=verdict,
        environment=told["environment"],
        digest=told.get("digest"),
        actor=build.user(),
        duration=round(seconds, 3),
        steps={one["name"]: one["seconds"] for one in told.get("suites", ())},
        detail=f"{told['url']}: {told['reason']}",
    )
    try:
        History(loaded.state_dir).append(event)
    except Error as failure:
        _output.status("warn", f"this is not on record: {failure.message}")


def _say_why(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, OSError):
        return ": ".join(str(part) for part in (error.filename, error.strerror) if part) or type(error).__name__
    return getattr(error, "message", None) or type(error).__name__


def _check_address(url: str) -> str:
    from fairlead import _values
    from fairlead.exceptions import ConfigurationError

    try:
        return str(_values.check(url, "url"))
    except ValueError as error:
        raise ConfigurationError(f"--url {error}", hint="pass --url https://api.example.com") from None


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
