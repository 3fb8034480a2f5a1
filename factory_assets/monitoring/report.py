def drift_report(*a, **k): return "x"
