"""Backups of runs as a user sees them: listed, verified, restored, removed."""
