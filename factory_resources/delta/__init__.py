"""What a Delta table consists of: its log, the content of its days, the types of its columns, the rows on their way into it."""
