"""Other packages measured beside Wattbook, each in an environment of its own."""
