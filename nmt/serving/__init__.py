"""Translation service: models in processes of their own behind an HTTP interface."""
