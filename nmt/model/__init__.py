"""The trainable model: encoders, attention, decoders, and their assembly."""
