"""A live table of a process's threads."""
