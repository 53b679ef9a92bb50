"""Writing scripts: generated ones, and those that are filled in by hand."""
