"""The ways to run a workload: one module each, one signature, one explicit table."""
