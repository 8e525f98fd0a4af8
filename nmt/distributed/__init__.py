"""Several processes of one job: rank, process group, rendezvous and launch under torchrun."""
