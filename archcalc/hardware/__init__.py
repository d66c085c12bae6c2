"""Devices as hardware: peaks, bandwidth and capacity, each with its source. No torch."""
