"""From a step function to translations."""
