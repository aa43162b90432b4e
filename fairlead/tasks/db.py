"""`db.*`: where an environment's database is."""

from typing import TYPE_CHECKING

from fairlead import _output
from fairlead.tasks._act import act

if TYPE_CHECKING:
    from fairlead.config import Config, EnvironmentConfig


@act(
    help={
        "env": "the environment: local, staging, production …",
        "show-password": "print it whole, for another program",
    }
)
def url(env: str = "local", show_password: bool = False) -> None:
    """Print the address of an environment's database; its password only when asked for."""
    import sys

    from fairlead import config

    loaded = config.load()
    address = database_url(loaded, loaded.environment(env))
    if show_password:
        # Asked for by name, so that `psql "$(invoke db.url --show-password)"` works: the one line that is not redacted.
        sys.stdout.write(address + "\n")
        return
    _output.result(address)


def database_url(loaded: "Config", environment: "EnvironmentConfig") -> str:
    """Return the address of an environment's database: its variable's, or the local platform's, which is started."""
    from fairlead.exceptions import ConfigurationError

    if environment.database_url_env:
        address = loaded.environ.get(environment.database_url_env)
        if not address:
            hint = f"set it to the address of {environment.name}'s database (postgresql://user:password@host/name)"
            raise ConfigurationError(f"{environment.database_url_env} is not set", hint=hint)
        return address
    if environment.platform != "local":
        where = f"tool.fairlead.environments.{environment.name}.database-url-env"
        raise ConfigurationError(f"{where} is missing", hint="name the variable that holds the database's address")
    from fairlead import localplatform

    return localplatform.start(loaded).database_url


ACTS = (url,)
