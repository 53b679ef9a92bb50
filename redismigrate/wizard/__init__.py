"""The wizard as data: what it asks, and what answers come to. It reads and writes nothing."""
