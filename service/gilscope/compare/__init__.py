"""Plan, trial, experiment: what makes a run."""
