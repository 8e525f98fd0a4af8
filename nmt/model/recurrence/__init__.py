"""The time loop over a known target."""
