"""Analytical Target Cascading: the utility above, prosumers below, DLMPs between them."""
