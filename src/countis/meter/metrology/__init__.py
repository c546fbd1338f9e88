"""From samples to measurements: what a checksum of the metrological firmware covers, with `energy/` and `memory.py`."""
