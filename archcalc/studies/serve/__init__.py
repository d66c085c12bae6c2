"""What serving a decoder takes: its cache, its weights as stored, prefill, decode, and what fits."""
