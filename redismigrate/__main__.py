"""`python -m redismigrate`."""

from redismigrate.cli import main

main()
