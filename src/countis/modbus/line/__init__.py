"""The RS485 line as a model in line time: the cable, faults on purpose, seeded chance."""
