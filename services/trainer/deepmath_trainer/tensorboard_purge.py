"""Removal of steps from a TensorBoard log: an event that makes readers drop what earlier files say about them."""

from pathlib import Path

from torch.utils.tensorboard import SummaryWriter


def purge_after(folder: Path, step: int) -> None:
    """Make TensorBoard ignore what the files in `folder` say about optimizer steps after `step`."""
    if any(folder.rglob("events.out.tfevents.*")):
        SummaryWriter(str(folder), purge_step=step + 1).close()
