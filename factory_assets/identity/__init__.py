"""From what is a table or a model made, in hashes? Code, declarations, inputs: pure functions for every station."""
