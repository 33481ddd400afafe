"""Benchmarks: the figures Wattbook is measured by, each beside a peer's."""
