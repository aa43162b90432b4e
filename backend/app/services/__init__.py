"""What the backend does, apart from how it is asked: logging in, settings, health, accounts."""
