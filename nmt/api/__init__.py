"""Python API: experiments, training and evaluation for programs and notebooks."""
