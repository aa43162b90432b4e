"""Owns the settings of nobody: what is declared, and nothing of what a process was started with."""

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from app.settings import Settings


class DeclaredSettings(Settings):
    """The settings by their declaration and by what is given alone: no variable of this process gets in."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings passes it
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - left out on purpose
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - left out on purpose
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - left out on purpose
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what is given and nothing else."""
        return (init_settings,)
