"""The memory of one meter: its state as bytes, what is still to be written, and the event log."""
