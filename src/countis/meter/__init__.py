"""The device: pure, without clock, file or socket."""
