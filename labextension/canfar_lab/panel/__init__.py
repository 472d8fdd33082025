"""What the panel asks of its session: the session itself, its sharing, what it uses."""
