"""Gives every test the fixtures of Fairlead's own pytest plugin, whether or not the wheel is installed."""

pytest_plugins = ["fairlead.pytest_plugin"]
