"""A stand-in for Firefly's server, whose image is in no registry that tests can reach.

It answers at the addresses that Python's `firefly-client` calls, under the prefix that it was told,
and says by what headers it was called.
"""
