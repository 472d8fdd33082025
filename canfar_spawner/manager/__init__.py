"""The Session Manager: API, batch jobs, lifetimes, sharing and history, beside the hub."""
