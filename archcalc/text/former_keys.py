"""Keys of figures that were renamed; the former ones stay within a schema version."""

ALIASES = {"param_bytes": "params_bytes", "buffer_bytes": "buffers_bytes"}
"""Former keys of figures, by those that they are now."""
