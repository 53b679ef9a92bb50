"""A new form of documents beside the old one, kept in step while applications write either."""
