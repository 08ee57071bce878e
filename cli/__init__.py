"""The `ratchet` command: a client of a deployed stack, on AWS and on the embedded cloud alike."""
