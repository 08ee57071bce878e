"""MiniStack as the embedded cloud: launcher, adapter to our engines, and repairs."""
