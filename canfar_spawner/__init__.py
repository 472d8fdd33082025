"""CANFAR Hub: a science platform for astronomers on JupyterHub."""
