"""The embedded cloud: MiniStack with the engines and repairs that let this repository's template run whole on one machine."""
