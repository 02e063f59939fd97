"""What an NVIDIA GPU on this machine can run today: the network in PyTorch and through ONNX Runtime's CUDA provider.

    python -m benchmarks.gpu_check --out FOLDER [--model schp:lip-r101-os16:473] [--rounds 30]

Part by part: each checks its result against PyTorch on the CPU before it times anything, and a part that cannot run is
listed with the reason instead of ending the check. Writes gpu-check.json and gpu-check.md. Exit status 1 when there is
no GPU, or when a part broke or was wrong.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.record import machine
from ce2p.models import CE2P, CE2PConfig, parse_model_name, untrained
from ce2p_runtime.errors import BackendError
from ce2p_runtime.timing import Timing, interleave

# TF32 is off, so float32 on a GPU differs from the CPU by summation order alone: the limit of ce2p_export.proof.
# Half precision keeps 11 bits, and 120 layers add up: 3e-2 separates rounding from a wrong layer (0.1 and more).
LIMITS = {"fp32": 1e-4, "fp16": 3e-2}


@dataclass
class Part:
    """One thing that was tried."""

    name: str
    status: str
    """ran, skipped (a package or device is not there), wrong (a result differs), or failed (it broke)."""
    note: str = ""
    distances: dict[str, float] = field(default_factory=dict)
    """Relative L2 of each candidate's logits to PyTorch on the CPU."""
    timings: dict[str, Timing] = field(default_factory=dict)


def torch_part(net: CE2P, size: tuple[int, int], rounds: int, device: str) -> Part:
    """PyTorch as trained and folded, float32 and (on a GPU) float16 channels-last."""
    from ce2p_export.deploy import deploy

    if device != "cpu" and not torch.cuda.is_available():
        return Part(f"PyTorch {torch.__version__}", "skipped", "this build or driver gives it no CUDA")
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        reference = net(image).parsing
    folded = deploy(net, size).net
    precisions = {"fp32": torch.float32} | ({"fp16": torch.float16} if device != "cpu" else {})
    runs: dict[str, Callable[[], torch.Tensor]] = {}
    for title, module in (("as trained", net), ("folded", folded)):
        for precision, dtype in precisions.items():
            runs[f"{title} {precision}"] = _on_device(module, image, device, dtype)
    part = Part(f"PyTorch {torch.__version__} on {device}", "ran")
    for name, run in runs.items():
        part.distances[name] = _relative_l2(run().float().cpu().numpy(), reference.numpy())
    return _timed(part, runs, rounds)


def onnxruntime_part(family: str, name: str, size: tuple[int, int], rounds: int, device: str) -> Part:
    """ONNX Runtime with its CUDA provider: our file and a naive export."""
    import onnxruntime

    from ce2p_export import GraphOptions, export_onnx, export_plain, open_source
    from ce2p_runtime.backends import OnnxRuntimeBackend

    source = open_source(name, family=family, random=True)
    image = np.random.default_rng(0).standard_normal((1, 3, *size), np.float32)
    with torch.inference_mode():
        reference = source.net(torch.from_numpy(image)).parsing.numpy()
    with tempfile.TemporaryDirectory() as folder:
        ours = OnnxRuntimeBackend(export_onnx(source, GraphOptions(size), Path(folder) / "ours.onnx").path, device)
        plain = export_plain(source.net, Path(folder) / "plain.onnx", size)
        provider = "CUDAExecutionProvider" if device != "cpu" else "CPUExecutionProvider"
        naive = onnxruntime.InferenceSession(str(plain), providers=[provider])
        if naive.get_providers()[0] != provider:
            return Part("ONNX Runtime", "skipped", f"{provider} did not load for the naive export")
        runs: dict[str, Callable[[], Any]] = {
            "naive fp32": lambda: naive.run(None, {"image": image})[0],
            "ours fp32": lambda: ours.run(image)[0],
        }
        part = Part(f"ONNX Runtime {onnxruntime.__version__} on {ours.device}", "ran")
        part.distances = {key: _relative_l2(run(), reference) for key, run in runs.items()}
        return _timed(part, runs, rounds)


def _on_device(module: CE2P, image: torch.Tensor, device: str, dtype: torch.dtype) -> Callable[[], torch.Tensor]:
    import copy

    placed = copy.deepcopy(module).to(device, dtype).to(memory_format=torch.channels_last).eval()
    batch = image.to(device, dtype).contiguous(memory_format=torch.channels_last)

    def run() -> torch.Tensor:
        with torch.inference_mode():
            logits: torch.Tensor = placed(batch).parsing
        if device != "cpu":
            torch.cuda.synchronize()
        return logits

    return run


def _timed(part: Part, runs: dict[str, Callable[[], Any]], rounds: int) -> Part:
    """Time the candidates unless one of them is wrong."""
    wrong = [name for name, distance in part.distances.items() if not distance < LIMITS[name.rpartition(" ")[2]]]
    if wrong:
        part.status, part.note = "wrong", f"not timed, too far from PyTorch on the CPU: {', '.join(wrong)}"
        return part
    part.timings = interleave(runs, rounds)
    return part


def _relative_l2(found: Any, expected: Any) -> float:
    return float(np.linalg.norm(np.asarray(found, np.float32) - expected) / np.linalg.norm(expected))


def attempt(name: str, part: Callable[[], Part]) -> Part:
    """Run a part, whatever becomes of it: the reason is kept and shown, and the other parts go on."""
    try:
        return part()
    except (ImportError, BackendError) as error:
        return Part(name, "skipped", f"{type(error).__name__}: {error}")
    except Exception as error:  # each library raises its own kinds
        reason = (str(error).strip().splitlines() or [""])[0]
        return Part(name, "failed", f"{type(error).__name__}: {reason}")


def graphics_card() -> str | None:
    """Name, driver and clocks of the first NVIDIA GPU, or None."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    query = [tool, "--query-gpu=name,driver_version,clocks.sm,clocks.mem", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, check=False)
    return answer.stdout.strip().splitlines()[0] if answer.returncode == 0 and answer.stdout.strip() else None


def markdown(card: str, model: str, parts: list[Part]) -> str:
    """The report as a Markdown table."""
    lines = [f"# GPU check: {model}", "", card, "", "| what | median ms | p95 ms | relative L2 |", "|---|---|---|---|"]
    for part in parts:
        lines.append(f"| **{part.name}**: {part.status} {part.note} | | | |")
        for name, timing in part.timings.items():
            lines.append(f"| {name} | {timing.median_ms:.2f} | {timing.p95_ms:.2f} | {part.distances[name]:.1e} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Command line of this check."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="schp:lip-r101-os16:473", metavar="FAMILY:NAME:SIZE")
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    card = graphics_card()
    if card is None:
        sys.exit("error: no NVIDIA GPU found (nvidia-smi is missing or lists none); run this on a machine that has one")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    family, name, side = options.model.split(":")
    size = (int(side), int(side))
    _, backbone, stride = parse_model_name(name)
    net = untrained(CE2PConfig.of(family, backbone, stride, 20))
    parts = [
        attempt("PyTorch", lambda: torch_part(net, size, options.rounds, "cuda")),
        attempt("ONNX Runtime", lambda: onnxruntime_part(family, name, size, options.rounds, "cuda")),
    ]
    options.out.mkdir(parents=True, exist_ok=True)
    document = {"machine": machine(), "gpu": card, "model": options.model, "parts": [vars(part) for part in parts]}
    (options.out / "gpu-check.json").write_text(json.dumps(document, indent=1, default=vars) + "\n")
    report = markdown(card, options.model, parts)
    (options.out / "gpu-check.md").write_text(report)
    print(report)
    if any(part.status in {"wrong", "failed"} for part in parts):
        sys.exit("error: a part broke, or computed something else than PyTorch on the CPU; see the report")


if __name__ == "__main__":
    main()
