"""From measurements to integers that last: counters, tariffs, partials, pulses, demand and periods."""
