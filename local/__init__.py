"""The embedded cloud: MiniStack with the engines and repairs that let this template run whole on one machine."""
