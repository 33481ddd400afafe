"""Published systems, each set up, run and reported: `wattbook study NAME`."""
