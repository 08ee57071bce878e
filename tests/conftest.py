"""What every test may rely on."""

from hypothesis import settings

# An example's time is the machine's, busy or not: it says nothing about the code.
settings.register_profile("ratchet", deadline=None)
settings.load_profile("ratchet")
