"""Processes and people: commands, scenarios, simulation, oracle, agents, servers."""
