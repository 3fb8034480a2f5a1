"""Who answers for each segment, since when and why? Champions by the gate's ruling, in the ledger."""
