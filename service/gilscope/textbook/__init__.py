"""The textbook's table of threads and processes, measured: the experiments, and what they say of each claim."""
