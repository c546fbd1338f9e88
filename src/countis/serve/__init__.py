"""Doors that know no meter: TCP, serial lines, who may enter, and the trace of what passes."""
