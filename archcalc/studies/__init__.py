"""Questions over several traces: frozen records in, frozen records out. Studies print nothing."""
