"""From recorded operations, schemas and what the server is like to a plan; changes nothing."""
