"""A step that devices or processes share is the step of one device with the whole batch."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gh_tools.errors import UsageError
from gh_tools.training.devices import Devices, join_processes

SCRIPT = Path(__file__).with_name("parallel.py")


def start(scaleshift, folder, precision, **environment) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, SCRIPT, scaleshift, folder, precision],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu", **environment},
    )


def result(process) -> str:
    out, err = process.communicate(timeout=280)
    assert process.returncode == 0, err
    return out


def test_two_devices_give_the_weights_of_one(tiny_scaleshift, tmp_path):
    """In double precision, where the order of sums makes errors of 1e-15 in gradients.

    Adam divides a gradient by its size plus 1e-8, so one that is zero but for such an error moves a
    weight by up to 1e-15/1e-8 of the learning rate: 2e-9 a step, and 1e-8 in six.
    """
    two = start(
        *(tiny_scaleshift, tmp_path / "a", "float64"),
        XLA_FLAGS=f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2",
    )
    found = json.loads(result(two))
    assert (found["devices"], found["processes"], found["steps"]) == (2, 1, 6)
    assert found["loss"] < 1e-10
    assert found["weights"] < 1e-8


def test_two_processes_give_the_weights_of_one_and_one_of_them_writes(tiny_scaleshift, tmp_path):
    """In single precision: the loss of six steps to a few times its rounding, 6e-8."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    both = [
        start(
            *(tiny_scaleshift, tmp_path / "b", "float32"),
            JAX_COORDINATOR_ADDRESS=address,
            JAX_NUM_PROCESSES="2",
            JAX_PROCESS_ID=str(index),
        )
        for index in range(2)
    ]
    first, second = (result(process) for process in both)
    found = json.loads(first)
    assert second == ""
    assert (found["devices"], found["processes"], found["steps"]) == (2, 2, 6)
    assert found["checkpoints"] == ["0"]
    assert found["loss"] < 1e-6


def test_one_device_takes_batches_as_they_are():
    devices = Devices(3)
    assert (devices.count, devices.per_device, devices.is_first) == (1, 3, True)
    assert devices.parts([5, 6]) == [[5, 6]]
    network = object()
    assert devices.distributed(network) is network


def test_half_an_environment_is_named(monkeypatch):
    monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
    monkeypatch.delenv("JAX_PROCESS_ID", raising=False)
    with pytest.raises(UsageError, match="JAX_PROCESS_ID"):
        join_processes()
