"""Export of trained models: bundles, repositories of the Hugging Face hub, and other engines."""
