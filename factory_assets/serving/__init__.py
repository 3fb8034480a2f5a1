"""What do servers answer with? The newest features of every entity, exported to a store and compared there."""
