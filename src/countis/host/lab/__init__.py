"""The laboratory: calibration, recordings for others' tools, the type test."""
