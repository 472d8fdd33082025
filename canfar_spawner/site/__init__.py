"""The edge to a site's files: catalogue and users, read into values of the core."""
