"""How the services of an environment are declared to run, and what of that is not live."""

from collections.abc import Mapping
from typing import Any

from fairlead import _procfile
from fairlead.config import Config
from fairlead.deploy.target import Target, TargetService
from fairlead.exceptions import ConfigurationError
from fairlead.railway import settings
from fairlead.railway.settings import Difference


def read_processes(config: Config) -> Mapping[str, str]:
    """Read the Procfile of the backend: command by kind of service; empty where there is none.

    Raises `ConfigurationError` for one that cannot be read.
    """
    file = config.backend / _procfile.FILE
    try:
        return _procfile.parse(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}") from None


def compare_settings(
    config: Config, target: Target, service: TargetService, processes: Mapping[str, str]
) -> tuple[Mapping[str, Any], tuple[Difference, ...]]:
    """Return what is declared for a service, under Railway's names, and what of it is not live."""
    declared = settings.declare(config, kind=service.kind, start_command=processes.get(service.kind))
    live = target.client.fetch_service_instance(environment_id=target.environment_id, service_id=service.id)
    return declared, settings.compare(declared, live)
