"""The application that `uvicorn app.main:app` serves. Importing this connects nowhere."""

import sys

from fastapi import FastAPI

from app.application import create_app
from app.build_info import BuildInfoError
from app.logs import configure_logging
from app.observation.errors import start_reporting
from app.settings import SettingsError, load_settings

__all__ = ["app", "create_app"]


def _create_or_exit() -> FastAPI:
    try:
        settings = load_settings()
        application = create_app(settings)
    except (SettingsError, BuildInfoError) as error:
        sys.exit(str(error))
    configure_logging(settings.log_level)
    start_reporting(settings, application.state.parts.build)
    return application


app = _create_or_exit()
