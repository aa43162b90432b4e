"""`config.*`: what the configuration says and where each value came from."""

from collections.abc import Mapping

from fairlead import _output
from fairlead.tasks._act import act


@act(help={"json": "print JSON for a program to read"})
def show(json: bool = False) -> None:
    """Print every value of the configuration and where it came from: flag, variable, file or default."""
    from fairlead import config

    loaded = config.load()
    rows = [(key, loaded.values.get(key), source) for key, source in sorted(loaded.sources.items())]
    if json:
        _output.result_json({key: {"value": _plain(value), "source": source} for key, value, source in rows})
        return
    _output.status("note", f"{loaded.root / config.FILE}")
    _output.table(("key", "value", "from"), [(key, _text(value), source) for key, value, source in rows])


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [str(item) for item in value]
    return dict(value) if isinstance(value, Mapping) else value


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, tuple):
        return ", ".join(str(item) for item in value) or "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={item}" for name, item in value.items()) or "-"
    return str(value)


ACTS = (show,)
