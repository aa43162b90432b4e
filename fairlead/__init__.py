"""Fairlead takes a Python backend from a commit to a verified release."""

__version__ = "0.1.0"
