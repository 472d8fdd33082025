"""Sessions as supervised processes on one machine."""
