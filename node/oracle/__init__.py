"""Oracles: they clear the feeder, check one another, and sign prices."""
