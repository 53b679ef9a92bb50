"""Backups: what stands in them, and how they are written and read. Files only."""
