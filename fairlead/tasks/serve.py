"""`serve`: the backend with reload, for writing code against."""

import os
from pathlib import Path

from fairlead import _output
from fairlead.tasks._act import act


@act(help={"port": "where to listen (default: any free port)"})
def serve(port: int = 0) -> None:
    """Run the backend with reload on the embedded database; Ctrl-C ends it, the database goes on."""
    from fairlead import config, localplatform
    from fairlead._process import run

    loaded = config.load()
    endpoint = localplatform.start(loaded)
    python = localplatform.prepare_environment(loaded, loaded.backend / "requirements.txt")
    # What approves deploys is no affair of the backend's.
    own = {name: value for name, value in loaded.environ.items() if not name.startswith("FAIRLEAD_APPROVAL")}
    environ = {**own, **localplatform.release_environment(loaded), "DATABASE_URL": endpoint.database_url}
    _output.status("note", "applying migrations")
    run([python, "-m", "fairlead", "migrate"], cwd=loaded.root, env=environ, capture=False)
    command: list[str | Path] = [
        python,
        "-m",
        "uvicorn",
        loaded.app,
        "--reload",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    _output.status("note", f"serving {loaded.backend}{os.sep} with reload")
    run(command, cwd=loaded.backend, env=environ, capture=False, check=False)


ACTS = (serve,)
