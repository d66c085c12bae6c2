"""Networks for sequences, one file a paper."""
