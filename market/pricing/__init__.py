"""Prices of the feeder: clearings, components, the quantiser and the certificate."""
