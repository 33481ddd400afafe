"""The market's pages and their JSON, read from the chain's events."""
