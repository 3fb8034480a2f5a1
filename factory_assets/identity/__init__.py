"""What is a thing made of, in hashes? Code, declarations, inputs: pure questions that every station asks."""
