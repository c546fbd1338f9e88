"""From measurements to integers that last: increments, counters, tariffs, partials, pulses, demand and periods."""
