"""What does the champion say? Predictions, each with the node and the version that answered."""
