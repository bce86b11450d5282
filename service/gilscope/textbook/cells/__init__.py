"""The experiments: one module per row, one short function per backend. What the documentation shows is what runs."""
