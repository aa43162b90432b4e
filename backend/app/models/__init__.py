"""What the backend keeps in the database (`tables`), and what it says over HTTP (the others, by subject)."""
