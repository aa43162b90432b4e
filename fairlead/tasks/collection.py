"""The acts as Invoke's tasks: a `tasks.py` that imports `namespace` from here has them all."""

import inspect
import logging
from typing import Any

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import Task

from fairlead.tasks import load_acts
from fairlead.tasks._act import Act

__all__ = ["as_task", "namespace"]


def as_task(declared: Act) -> Task[Any]:
    """Make Invoke's task of an act, which ends with the act's exit code: `namespace.add_task(as_task(mine))`."""

    def run(_context: Context, **values: Any) -> None:
        debug = logging.getLogger("invoke").isEnabledFor(logging.DEBUG)
        if code := declared.run(values, debug=debug):
            raise Exit(code=code)

    # Invoke reads the options from the signature and expects its context first.
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = [context, *inspect.signature(declared.body).parameters.values()]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # a documented hook of inspect
    run.__name__, run.__doc__, run.__module__ = declared.body.__name__, declared.doc, declared.body.__module__
    return Task(
        run,
        help={option.flag: option.help for option in declared.options if option.help},
        positional=[option.name for option in declared.options if option.positional] or None,
    )


def _collect() -> Collection:
    collection = Collection()
    for name, declared in load_acts().items():
        group, _, _ = name.rpartition(".")
        if group and group not in collection.collections:
            collection.add_collection(Collection(group))
        (collection.collections[group] if group else collection).add_task(as_task(declared))
    return collection


namespace = _collect()
