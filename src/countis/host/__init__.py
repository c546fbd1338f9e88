"""The world around the meter: clock, ports and the file of its memory."""
