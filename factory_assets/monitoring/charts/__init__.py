"""Is a day's number as the days before let expect? Counts of rows, and control charts of them."""
