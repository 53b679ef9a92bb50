"""A guided demonstration on a server of its own."""
