"""Documents and what is done to them, as values: no Redis, no files."""
