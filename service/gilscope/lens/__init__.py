"""Who runs, who waits for the GIL and who holds it, seen from outside the process."""
