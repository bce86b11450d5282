"""Stacks of a running service: captured by py-spy, merged, drawn."""
