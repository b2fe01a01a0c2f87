"""Pictures to the device and answers back. On the CPU nothing has to move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Transfers:
    """Copies through pinned memory; the host waits for the device once an answer.

    Upwards they have a stream of their own: one group of pictures travels while the group before it is encoded.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._is_cuda = device.type == "cuda"
        self._upwards = torch.cuda.Stream(device) if self._is_cuda else None  # type: ignore[no-untyped-call]

    def up(self, arrays: Sequence[NDArray[np.uint8]]) -> list[Tensor]:
        """Copies of arrays on the device; the arrays may be changed afterwards, they may lie in shared memory."""
        hosts = [torch.empty(array.shape, dtype=torch.uint8, pin_memory=self._is_cuda) for array in arrays]
        for host, array in zip(hosts, arrays, strict=True):
            host.numpy()[...] = array
        if self._upwards is None:
            return hosts
        with torch.cuda.stream(self._upwards):
            there = [host.to(self.device, non_blocking=True) for host in hosts]
        current = torch.cuda.current_stream(self.device)
        current.wait_stream(self._upwards)
        for tensor in there:
            tensor.record_stream(current)
        return there

    def down(self, tensors: Sequence[Tensor]) -> list[NDArray[Any]]:
        """Arrays of tensors on the device: all copies are on their way before the first one is waited for."""
        if not self._is_cuda:
            return [tensor.numpy() for tensor in tensors]
        hosts = [torch.empty(t.shape, dtype=t.dtype, pin_memory=True).copy_(t, non_blocking=True) for t in tensors]
        arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrived.record(torch.cuda.current_stream(self.device))
        arrived.synchronize()
        return [host.numpy() for host in hosts]
