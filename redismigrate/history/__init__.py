"""Migration scripts on disk, the DAG they form, and the identifiers that name places in it."""
