"""Which of Dagster's private parts does the factory use, and what does it do where they are not what was tried?

This is the only room that imports from `dagster._*` or `dagster_postgres`, or touches what Dagster's objects do not document:
a new Dagster can break the factory nowhere else. Each module takes the private names of one part when it is imported, by
`versions.private`; where they are missing, changed, or of a version that was not tried, it does the same by Dagster's public
ways, and a warning says what is slower or different.

versions      which versions were tried, and the warning
storages      which classes a dagster.yaml gets: those of the next two, or Dagster's own
sqlite        the event log in SQLite
postgres      the event log in PostgreSQL
indexed       one more tag that both find by index
reading       what the event log says of partitions and checks
refusals      what a rule refuses, without a traceback
printed       what a command's runs print, in the terminal
recording     one event a partition, each with its own data version, of a run over many
declarations  a folder of declarations outside the package, and the job of all assets
"""
