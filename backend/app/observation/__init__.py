"""What is seen of the running service from outside: figures, errors and traces."""
