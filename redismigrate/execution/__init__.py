"""Runs a plan: steps, waiting, validation, resume and undo."""
