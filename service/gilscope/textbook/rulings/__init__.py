"""How figures become a standing, a headline and a footnote: one module per kind of claim. Pure."""
