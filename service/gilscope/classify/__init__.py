"""What a function does to the GIL, found in seconds and without load."""
