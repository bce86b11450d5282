"""Profiles of a running process: taken beside the lens, kept in a folder, asked for over HTTP."""
