"""The acts of this repository: Fairlead's collection, and what only the MAYA backend needs."""

from fairlead.tasks import act
from fairlead.tasks.collection import as_task, namespace


@act(help={"email": "how the user logs in", "business": "the business that the user owns"})
def create_user(email: str, business: str) -> None:
    """Create a business and its owner in the local release; the password is asked for, or read from MAYA_PASSWORD."""
    from fairlead import config, localplatform
    from fairlead.exceptions import CommandError

    command = ["python", "-m", "app.create_user", "--email", email, "--business", business]
    loaded = config.load()
    password = {name: value for name, value in loaded.environ.items() if name == "MAYA_PASSWORD"}
    code = localplatform.run_in_release(loaded, command, variables=password)
    if code != 0:
        raise CommandError(f"the user was not created (exit code {code})", hint="the lines above say why")


namespace.add_task(as_task(create_user))
