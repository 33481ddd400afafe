"""JSON-RPC over the embedded chain, in anvil's conventions."""
