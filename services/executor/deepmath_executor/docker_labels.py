"""Container labels that name the supervisor process, so that a later supervisor recognises orphaned containers."""

import json
import os

from deepmath.process_identity import ProcessIdentity

LABEL = "deepmath.executor.supervisor"


def own_label() -> str:
    """Return the label value of this process, unique to one process of one boot of one machine."""
    return json.dumps(ProcessIdentity.of(os.getpid()))


def is_own(label: str) -> bool:
    """Return whether this process wrote `label`."""
    return label == own_label()


def is_orphaned(label: str) -> bool:
    """Return whether the process that wrote `label` has certainly ended.

    A process in another pid namespace cannot be seen from here and counts as alive.
    """
    try:
        return ProcessIdentity(*json.loads(label)).has_ended
    except (ValueError, TypeError):  # not a label of ours
        return False
