"""What a migration script may ask for: pure records, applied to schemas, never to Redis."""
