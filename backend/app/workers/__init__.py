"""Holds the programs that run beside the web service."""
