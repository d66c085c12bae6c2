"""Findings on a trace: the guidelines for fast networks, and what a designer would not have meant."""
