"""Memory and utilization of a GPU, simulated."""

import pytest
import torch

from nmt.training.gpu_usage import _report_once, gpu_usage


def test_usage_of_a_gpu_and_none_of_a_cpu(
    monkeypatch: pytest.MonkeyPatch, log_text: pytest.LogCaptureFixture
) -> None:
    assert gpu_usage(torch.device("cpu")) == {}
    device = torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 << 29)
    monkeypatch.setattr(torch.cuda, "utilization", lambda device: 87)
    assert gpu_usage(device) == {"gpu_memory_gib": 1.5, "gpu_utilization": 87.0}

    def missing(device: torch.device) -> int:
        raise ModuleNotFoundError("nvidia-ml-py does not seem to be installed")

    monkeypatch.setattr(torch.cuda, "utilization", missing)
    _report_once.cache_clear()
    for _ in range(2):
        assert gpu_usage(device) == {"gpu_memory_gib": 1.5}
    (record,) = log_text.records
    assert "nvidia-ml-py" in record.getMessage()
