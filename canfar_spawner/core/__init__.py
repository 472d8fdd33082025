"""The pure core: what a session is and who may have it, decided without any I/O."""
