"""What was changed in the tables, and in which order? A file a revision."""
