"""`deepmath doctor`."""

from deepmath import __version__
from deepmath.cli.commands import doctor


async def test_doctor_passes_on_this_machine(deepmath) -> None:
    ended = await deepmath("doctor")
    assert ended.status == 0, ended.out
    services = ("deepmath-executor", "deepmath-generator", "deepmath-trainer", "deepmath-gateway")
    for name in ("seccomp", "landlock", *services):
        assert name in ended.out


def test_doctor_fails_on_a_service_of_another_version(monkeypatch) -> None:
    versions = {"executor": __version__, "generator": "0.0.9", "trainer": None, "gateway": __version__}
    monkeypatch.setattr(doctor, "installed_version", versions.get)
    base, executor, generator, trainer, gateway = doctor._distributions()
    assert (base.name, base.detail, base.passed) == ("deepmath-services", __version__, True)
    assert (executor.passed, generator.passed, trainer.passed, gateway.passed) == (True, False, False, True)
    assert (generator.required, trainer.required) == (True, False)
    assert generator.detail.startswith(f"0.0.9, but deepmath-services is {__version__}")
    assert "from the checkout" in trainer.detail


def test_doctor_reports_an_executor_that_is_not_installed(monkeypatch) -> None:
    monkeypatch.setattr(doctor, "installed_version", lambda _: None)
    (layers,) = doctor._layers()
    assert (layers.name, layers.passed, layers.required) == ("executor", False, True)
    assert not doctor._containers().passed
