"""Work divided: regions of very large feeders, and sweeps of scenarios, here or in processes of their own."""
