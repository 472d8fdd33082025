"""The gateway: an authenticating proxy before an application that knows nothing of the hub."""
