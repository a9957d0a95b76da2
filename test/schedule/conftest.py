"""One cluster for the folder, and a fresh database in it for each test that asks for one; see test/crash/conftest.py."""

import pathlib
import runpy

_crash = runpy.run_path(str(pathlib.Path(__file__).resolve().parents[1] / "crash" / "conftest.py"))
cluster, fresh = _crash["cluster"], _crash["fresh"]
