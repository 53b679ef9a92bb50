"""What is recorded in Redis: applied revisions, index definitions, the lock, the run, the journal."""
