"""Model tests: one thread, for tensors of a few numbers."""

import torch

torch.set_num_threads(1)
