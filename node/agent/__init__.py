"""An agent: it answers clearings for its devices, trades by its policy, reads its meter and its bill."""
