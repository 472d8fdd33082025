"""The command ``canfar-hub``."""
