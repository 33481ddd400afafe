"""`python -m node` is `wattbook`."""

from node.cli import main

main()
