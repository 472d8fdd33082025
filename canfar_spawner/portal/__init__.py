"""The pages of the hub: what they show, their templates and their browser code."""
