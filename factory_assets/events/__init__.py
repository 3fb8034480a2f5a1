"""Are these events fit for use? Sources, landing, contract, quarantine, statistics."""
