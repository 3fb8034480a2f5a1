"""Which model does each node of the segment tree get? Timelines, matrices, estimators, fitting, archives."""
