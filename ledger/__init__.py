"""What happened on a chain, and the proof of it."""
