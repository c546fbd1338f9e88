"""What both ends of the cable share: the table as data, words, PDUs and frames. It knows symbols, not the meter."""
