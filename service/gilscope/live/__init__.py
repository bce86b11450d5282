"""What happens now: the live page, its stream, and who listens to it."""
