"""`python -m worker` is `haraka-accounting`."""

from worker.cli import main

main()
