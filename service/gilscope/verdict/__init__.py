"""Statistics and the decision. Pure: data in, data out."""
