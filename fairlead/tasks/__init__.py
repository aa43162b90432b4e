"""The acts: Fairlead's Invoke collection. Each parses, calls and prints; what they do lies below.

Only Invoke and light modules are imported here, so that `invoke --list` is quick; an act imports what it needs itself.
"""

from invoke.collection import Collection

from fairlead.tasks import config, db, migrations, platform, releases, serve

__all__ = ["namespace"]


def _collect() -> Collection:
    collection = Collection(
        serve.serve,
        migrations.migrate,
        releases.build,
        releases.deploy,
        releases.releases,
        releases.verify,
    )
    for name, module in (("config", config), ("db", db), ("migrations", migrations), ("platform", platform)):
        collection.add_collection(Collection(name, *module.ACTS))
    return collection


namespace = _collect()
