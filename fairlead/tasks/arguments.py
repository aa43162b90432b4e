"""Reads the arguments of an act by its declaration: the same options as Invoke's task of it has."""

import argparse
from typing import NoReturn

from fairlead.exceptions import ConfigurationError
from fairlead.tasks._act import Act


def parser_of(name: str, declared: Act) -> argparse.ArgumentParser:
    """Return what reads the arguments of an act, with the same options as Invoke's task of it has."""
    parser = _Parser(
        prog=f"python -m fairlead {name}",
        description=declared.doc,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for option in declared.options:
        text = option.help.replace("%", "%%")
        flags = [f"--{option.flag}", *([f"-{option.short}"] if option.short else [])]
        if option.positional:
            optional = {} if option.default is None else {"nargs": "?", "default": option.default}
            parser.add_argument(option.name, metavar=option.flag.upper(), help=text, **optional)
        elif option.kind is bool:
            action = argparse.BooleanOptionalAction if option.default else "store_true"
            parser.add_argument(*flags, dest=option.name, action=action, default=option.default, help=text)
        else:
            shown = text if option.default in {None, ""} else f"{text} (default: {option.default})"
            parser.add_argument(
                *flags,
                dest=option.name,
                type=option.kind,
                default=option.default,
                required=option.default is None,
                metavar=option.flag.upper(),
                help=shown,
            )
    return parser


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigurationError(f"{self.prog}: {message}", hint=f"{self.prog} --help")
