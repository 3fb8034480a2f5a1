"""How is a quantity measured and drawn, the same at every station? Metrics, profiles, plots."""
