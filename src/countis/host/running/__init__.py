"""Meters at work on this machine: their threads, ports, memories and supplies."""
