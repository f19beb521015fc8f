"""Layout and precision of networks in training: what processors are fastest with."""

from __future__ import annotations

from typing import TypeVar

import torch

Network = TypeVar("Network", bound=torch.nn.Module)


def channels_last(network: Network) -> Network:
    """Return the network with its channels last in memory."""
    return arranged(network, torch.channels_last)


def arranged(network: Network, memory_format: torch.memory_format) -> Network:
    """Return the network in a memory format, which torch's own annotations do not know."""
    network.to(memory_format=memory_format)  # type: ignore[call-overload]
    return network


def cast() -> torch.autocast:
    """Return the context that computes in bfloat16 where the processor multiplies it itself."""
    native = torch.cpu._is_avx512_bf16_supported()
    return torch.autocast("cpu", torch.bfloat16, enabled=native)
