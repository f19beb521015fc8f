"""What holds for every test."""

import torch

# Tiny models gain nothing from a second thread, and lose much when others use the cores.
torch.set_num_threads(1)
