"""Simulation of trading sessions."""
