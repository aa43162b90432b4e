"""The HTTP surface: each module owns the routes of one subject."""
