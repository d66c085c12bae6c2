"""The record of one run: plain frozen data, and its file. No torch."""
