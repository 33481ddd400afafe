"""Scenarios: the file's schema, loading it, and drawing its world."""

from node.scenario.loading import ScenarioError, builtin_names, load
from node.scenario.schema import ScenarioFile

__all__ = ["ScenarioError", "ScenarioFile", "builtin_names", "load"]
