"""Views of a run; each sees the model alone."""
