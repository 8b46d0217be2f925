"""Recognition of the errors by which datasets reports a split without rows."""


def is_empty_split_error(error: Exception) -> bool:
    """Return whether `error`, raised by `datasets.load_dataset`, means that the split has no rows.

    datasets 5 raises a bare ValueError in `arrow_reader.py` ('Instruction "train" corresponds to no data!'), and an
    IndexError for some loaders. No upstream issue is known.
    """
    return isinstance(error, IndexError) or "corresponds to no data" in str(error)
