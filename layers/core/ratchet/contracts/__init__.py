"""What passes between states, functions and people, as frozen pydantic models."""
