"""What is on record in the ledger's database: its tables, who may append to them and how, and what each of them says."""
