"""Chains behind one protocol: py-evm embedded in the process, or any node over JSON-RPC."""
