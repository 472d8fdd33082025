"""The sample project: simulated data and a notebook that measures them."""
