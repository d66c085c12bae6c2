"""One file a command: its answer as a document."""
