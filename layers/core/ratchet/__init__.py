"""Ratchet's core: domain, contracts and adapters, shared by every function as a Lambda layer."""
