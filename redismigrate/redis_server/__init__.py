"""The server side: connecting, what a server can do, and a private server for development and tests."""
