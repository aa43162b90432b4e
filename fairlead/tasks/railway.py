"""`railway.*`: the settings of the services on Railway, declared once in `[tool.fairlead.railway]`."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairlead import _output
from fairlead._procfile import WEB
from fairlead.exceptions import ConfigurationError, Error, PlatformError
from fairlead.tasks._act import act, confirm

if TYPE_CHECKING:
    from fairlead.config import Config, EnvironmentConfig
    from fairlead.deploy.target import Target, TargetService
    from fairlead.railway.settings import Difference

_JSON = "print JSON for a program to read"
_LOCAL = "the local platform runs each release as the railway.json in its bundle says, and is not changed from here"


@act(
    help={
        "format": "json: railway.json, of one service; program: .railway/railway.py, of all",
        "output": "where to write it; - prints it",
        "env": "with program: the environment, which is asked for the names of its variables",
        "check": "write nothing; fail when the file is not what would be written",
    }
)
def config(
    format: str = "json",  # noqa: A002 - the option is called so
    output: str = "",
    env: str = "",
    check: bool = False,
) -> None:
    """Write the file that Railway reads the settings from, out of [tool.fairlead.railway]."""
    from fairlead import config as configuration
    from fairlead.railway import settings as declared

    loaded = configuration.load()
    if format == "json":
        text, usual = declared.render_json(loaded), loaded.backend / "railway.json"
    elif format == "program":
        text, usual = _render_program(loaded, env), loaded.root / ".railway" / "railway.py"
    else:
        raise ConfigurationError(f"there is no format {format!r}", hint="pass --format json or --format program")
    if output == "-":
        _output.result(text, end="")
        return
    target = Path(output) if output else usual
    if check:
        _check(target, text, format)
        return
    _write(target, text)
    _output.status("ok", str(target))


@act(
    help={
        "env": "the environment: staging, production …",
        "apply": "set what differs; it holds from the next deployment on",
        "auto-confirm": "say yes to the question",
        "json": _JSON,
    }
)
def settings(env: str = "staging", apply: bool = False, auto_confirm: bool = False, json: bool = False) -> None:
    """Show the declared settings of an environment's services beside the live ones, and set what differs."""
    from fairlead import config as configuration
    from fairlead.tasks.releases import open_target

    loaded = configuration.load()
    environment = loaded.environment(env)
    if environment.platform == "local":
        if apply:
            raise PlatformError(_LOCAL, hint="change [tool.fairlead.railway], then: invoke railway.config")
        _output.status("note", _LOCAL)
        if json:
            _output.result_json({"environment": env, "services": []})
        return
    with open_target(loaded, environment, start=False) as target:
        found = _compare(loaded, target)
        if not json:
            _show(found)
        _warn_of_unknown_starts(found)
        differing = {service: differences for service, (_, differences) in found.items() if differences}
        if apply and differing:
            _apply(environment, target, differing, auto_confirm=auto_confirm)
            _confirm_applied(_compare(loaded, target))
    if json:
        _output.result_json(
            {
                "environment": env,
                "applied": apply and bool(differing),
                "services": [_plain(*one) for one in found.items()],
            }
        )
    _tell(differing, env, applied=apply)


Found = Mapping["TargetService", tuple[Mapping[str, Any], tuple["Difference", ...]]]


def _compare(loaded: "Config", target: "Target") -> Found:
    """Return what is declared for each service, and what of it is not live."""
    from fairlead.deploy.services import compare_settings, read_processes

    processes = read_processes(loaded)
    return {service: compare_settings(loaded, target, service, processes) for service in target.services}


def _apply(
    environment: "EnvironmentConfig",
    target: "Target",
    differing: Mapping["TargetService", tuple["Difference", ...]],
    *,
    auto_confirm: bool,
) -> None:
    from fairlead.railway import settings as declaring

    if environment.approval:
        names = " and ".join(service.name for service in differing)
        confirm(f"Change the settings of {names} in {environment.name}?", auto_confirm=auto_confirm)
    for service, differences in differing.items():
        target.client.update_service_instance(
            declaring.make_update(differences), environment_id=target.environment_id, service_id=service.id
        )


def _confirm_applied(found: Found) -> None:
    """Raise `PlatformError` where the platform said yes and the settings are still as they were."""
    left = [f"{service.name}: {one.sentence}" for service, (_, differences) in found.items() for one in differences]
    if left:
        raise PlatformError(
            f"the platform took the settings and still says otherwise: {'; '.join(left)}",
            hint="look at the service's settings there: a file in its source may be stronger",
        )


def _show(found: Found) -> None:
    from fairlead.railway.settings import render_value

    rows = []
    for service, (declared, differences) in found.items():
        live = {one.name: one.live for one in differences}
        for name, value in declared.items():
            shown = render_value(live[name]) if name in live else "the same"
            rows.append((service.name, name, render_value(value), shown))
    _output.table(("service", "setting", "declared", "live"), rows)


def _warn_of_unknown_starts(found: Found) -> None:
    """Name the services that nothing here says how to start: they may well start as the web does."""
    for service, (declared, _) in found.items():
        if service.kind != WEB and "startCommand" not in declared:
            what = f"the Procfile has no `{service.kind}:` line"
            _output.status("warn", f"{what}, so {service.name} starts as its image or Railway says")


def _tell(differing: Mapping["TargetService", tuple["Difference", ...]], env: str, *, applied: bool) -> None:
    count = sum(map(len, differing.values()))
    settings = "1 setting" if count == 1 else f"{count} settings"
    if not count:
        _output.status("ok", f"{env} is set as declared")
    elif applied:
        _output.status("ok", f"{settings} changed; in force from the next deployment on")
    else:
        _output.status("warn", f"{settings} differ; set them: invoke railway.settings --env {env} --apply")


def _plain(service: "TargetService", one: tuple[Mapping[str, Any], tuple["Difference", ...]]) -> dict[str, Any]:
    import dataclasses

    declared, differences = one
    facts = {"service": service.name, "kind": service.kind, "declared": dict(declared)}
    return {**facts, "differences": [dataclasses.asdict(difference) for difference in differences]}


def _render_program(loaded: "Config", env: str) -> str:
    from fairlead.deploy.services import read_processes
    from fairlead.railway import settings as declaring

    environment, variables = _find_variables(loaded, env)
    return declaring.render_program(loaded, environment, processes=read_processes(loaded), variables=variables)


def _find_variables(loaded: "Config", env: str) -> tuple["EnvironmentConfig", Mapping[str, Collection[str]]]:
    """Return the environment that a program is for, and the names of the variables that each kind of service has."""
    from fairlead.tasks.releases import open_target

    on_railway = [one for one in loaded.environments.values() if one.platform == "railway"]
    environment = loaded.environment(env) if env else next(iter(on_railway), None)
    if environment is None or environment.platform != "railway":
        what = "no environment is on Railway" if environment is None else f"{environment.name} is not on Railway"
        raise ConfigurationError(
            what, hint='declare one: [tool.fairlead.environments.staging] with platform = "railway"'
        )
    required = loaded.deploy.required_variables
    if not env:
        _output.status(
            "warn",
            "only deploy.required-variables are named: `railway config apply` would delete any other variable; "
            f"--env {environment.name} asks the platform for their names",
        )
        return environment, dict.fromkeys(environment.services or (WEB,), required)
    with open_target(loaded, environment, start=False) as target:
        place = {"project_id": target.project_id, "environment_id": target.environment_id}
        return environment, {
            service.kind: {*required, *target.client.fetch_variable_names(**place, service_id=service.id)}
            for service in target.services
        }


def _check(target: Path, text: str, format: str) -> None:  # noqa: A002 - as the option of the act
    try:
        there = target.read_text("utf-8") if target.exists() else None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{target} cannot be read: {error}") from None
    if there != text:
        what = "is missing" if there is None else "is not what [tool.fairlead.railway] says"
        raise ConfigurationError(f"{target} {what}", hint=f"invoke railway.config --format {format}")
    _output.status("ok", f"{target} is what [tool.fairlead.railway] says")


def _write(target: Path, text: str) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")
    except OSError as error:
        raise Error(
            f"{target} cannot be written: {error.strerror}", hint="choose another place with --output"
        ) from None


ACTS = (config, settings)
