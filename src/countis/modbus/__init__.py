"""What both ends of the cable share: table, words, PDUs and frames. It knows symbols, not the meter."""
