"""What stands beside the governor? The monthly schedule of decay, and the table that `factory run` ends with."""
