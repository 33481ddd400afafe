"""Traders: profiles of sun and load, bidding policies, the utility's quotes, welfare of a schedule."""
