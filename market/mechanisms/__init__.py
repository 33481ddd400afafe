"""Published market mechanisms as pure functions, for comparison with the market itself."""
