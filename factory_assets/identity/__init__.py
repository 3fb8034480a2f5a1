"""What makes a result the same as before: the code that computes it, and the declaration that it is computed by."""
