"""What runs inside the hub's process, whichever back end carries sessions out."""
