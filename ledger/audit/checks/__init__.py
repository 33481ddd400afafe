"""One check a module: a pure function from a record to its verdicts."""
