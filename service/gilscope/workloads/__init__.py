"""Built-in work, and the loader of the user's own function."""
