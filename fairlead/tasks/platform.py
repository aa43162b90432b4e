"""`platform.*`: the local platform, started and stopped by hand, and what its releases print."""

from fairlead import _output
from fairlead.tasks._act import act

_JSON = "print JSON for a program to read"


@act()
def up() -> None:
    """Start the local platform; does nothing when it runs already."""
    from fairlead import config, localplatform

    endpoint = localplatform.start(config.load())
    for note in endpoint.notes:
        _output.status("warn", note)
    _output.status("ok", f"the local platform runs (process {endpoint.pid}) and serves at {endpoint.public_url}")


@act()
def down() -> None:
    """Stop the local platform, its releases and its database; their data stays."""
    from fairlead import config, localplatform

    stopped = localplatform.stop(config.load())
    _output.status("ok" if stopped else "note", "stopped" if stopped else "the local platform was not running")


@act(help={"json": _JSON})
def status(json: bool = False) -> None:
    """Say whether the local platform runs, where, and which release serves."""
    from fairlead import config, localplatform
    from fairlead import deploy as deploying

    loaded = config.load()
    endpoint = localplatform.find(loaded)
    if endpoint is None:
        if json:
            _output.result_json({"running": False})
        else:
            _output.status("note", "the local platform is not running; start it: invoke deploy --env local")
        return
    with deploying.open_local(loaded, start=False) as target:
        serving = deploying.find_serving(target.deployments())
    if json:
        facts = {"running": True, "pid": endpoint.pid, "url": endpoint.public_url, "api": endpoint.api_url}
        _output.result_json(
            {**facts, "release": serving.number if serving else None, "digest": serving.digest if serving else None}
        )
        return
    _output.status("ok", f"the local platform runs (process {endpoint.pid}) and serves at {endpoint.public_url}")
    said = f"release {serving.number}, {serving.digest}" if serving else "no release yet: invoke deploy --env local"
    _output.status("note", said)


@act(help={"lines": "how many lines at the most", "build": "what the build printed instead", "json": _JSON})
def logs(lines: int = 200, build: bool = False, json: bool = False) -> None:
    """Print what the newest deployment printed, oldest line first."""
    import dataclasses

    from fairlead import config
    from fairlead import deploy as deploying

    with deploying.open_local(config.load(), start=False) as target:
        deployments = target.deployments()
        if not deployments:
            _output.status("note", "nothing was deployed yet: invoke deploy --env local")
            return
        fetch = target.client.fetch_build_logs if build else target.client.fetch_deployment_logs
        found = fetch(deployments[0].id, limit=lines)
    if json:
        _output.result_json([dataclasses.asdict(line) for line in found])
        return
    for line in found:
        _output.result(f"{line.timestamp}  {line.message}")


ACTS = (up, down, status, logs)
