"""What was known at each moment? Windows, snapshots, examples, labels."""
