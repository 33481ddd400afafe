"""The market as pure functions and frozen records: no clock, network, chain or randomness of its own."""
