"""Training: one recipe runner for every model, its data and losses."""
