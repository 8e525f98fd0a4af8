"""Programs that nmt-export writes next to a model; they require no part of nmt."""
