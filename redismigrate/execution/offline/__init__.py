"""Plans as scripts for redis-cli, for servers that we do not reach."""
