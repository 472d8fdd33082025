"""Sessions as pods of a cluster."""
