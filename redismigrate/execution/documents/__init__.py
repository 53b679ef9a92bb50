"""Rewrites documents: batches, their transforms, and the backup of every byte before it changes."""
