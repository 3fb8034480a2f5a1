"""What is a thing made of, in hashes? Pure questions that every station asks."""
