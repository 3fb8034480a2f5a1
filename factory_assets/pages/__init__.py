"""What do people look at? What the stations before have found, in one place; nothing is computed for a page alone."""
