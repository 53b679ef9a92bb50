"""Folders that are shipped with the code."""

import pytest

from redismigrate import packaged
from redismigrate.errors import ConfigurationError


def test_a_wheel_has_the_folder_inside_the_package(tmp_path, monkeypatch):
    package = tmp_path / "redismigrate"
    (package / "_example").mkdir(parents=True)
    (tmp_path / "example").mkdir()
    monkeypatch.setattr(packaged, "_PACKAGE", package)
    assert packaged.packaged_folder("_example", "example", "example") == package / "_example"


def test_a_checkout_has_it_beside_the_package(tmp_path, monkeypatch):
    (tmp_path / "example").mkdir()
    monkeypatch.setattr(packaged, "_PACKAGE", tmp_path / "redismigrate")
    assert packaged.packaged_folder("_example", "example", "example") == tmp_path / "example"


def test_an_installation_without_it_is_told_as_one(tmp_path, monkeypatch):
    monkeypatch.setattr(packaged, "_PACKAGE", tmp_path / "redismigrate")
    with pytest.raises(ConfigurationError) as caught:
        packaged.packaged_folder("_example", "example", "example")
    assert str(caught.value) == "This installation lacks its example.\nInstall redismigrate again."
