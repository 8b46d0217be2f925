"""The gauge of memory limits and use, in control groups of both versions and on a machine."""

from pathlib import Path

import pytest

from deepmath.sandbox.isolation.memory_gauge import MemoryGauge

FILES = {
    1: {"memory.usage_in_bytes": "1000\n", "memory.stat": "total_inactive_file 200\ntotal_active_file 100\n"},
    2: {
        "memory.current": "1000\n",
        "memory.stat": "anon 5\ninactive_file 150\nactive_file 100\nslab_reclaimable 50\nslab_unreclaimable 70\n",
    },
}


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("version", FILES)
def test_caches_of_files_do_not_count(tmp_path, version) -> None:
    assert MemoryGauge(5000, write(tmp_path, FILES[version])).used_bytes() == 700


@pytest.mark.parametrize("version", FILES)
@pytest.mark.parametrize("text", ["", "anon\n", "inactive_file x\n", "total_inactive_file -\n"])
def test_missing_figures_are_an_error(tmp_path, version, text) -> None:
    with pytest.raises(OSError, match="no field"):
        MemoryGauge(5000, write(tmp_path, FILES[version] | {"memory.stat": text})).used_bytes()


def test_group_that_is_gone_is_an_error(tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        MemoryGauge(5000, tmp_path / "gone").used_bytes()


def test_machine_uses_less_than_it_has() -> None:
    gauge = MemoryGauge.of_this_process()
    assert 0 < gauge.used_bytes() < gauge.limit_bytes
    assert MemoryGauge(gauge.limit_bytes).used_bytes() > 0
