"""Loads the four parts of kubernetes_asyncio that are needed, and keeps its generated models out of memory.

Importing the package the ordinary way loads 800 model classes and 60 API classes (40 MB). Placeholder packages,
registered before the first import, have the package's search path but do not run its `__init__` files.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

_ROOT = "kubernetes_asyncio"


def _placeholder(name: str, folder: Path | None) -> ModuleType:
    module = ModuleType(name)
    module.__path__ = [str(folder)] if folder else []
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)
    return module


def _load() -> tuple[Any, Any, Any, Any, Any]:
    spec = importlib.util.find_spec(_ROOT)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"{_ROOT} is not installed")
    folder = Path(spec.submodule_search_locations[0])
    if _ROOT not in sys.modules:
        _placeholder(_ROOT, folder)
        client = _placeholder(f"{_ROOT}.client", folder / "client")
        _placeholder(f"{_ROOT}.client.models", None)
        for name, module in (("Configuration", "configuration"), ("ApiClient", "api_client")):
            setattr(client, name, getattr(importlib.import_module(f"{_ROOT}.client.{module}"), name))
        _placeholder(f"{_ROOT}.config", folder / "config")
    client = sys.modules[f"{_ROOT}.client"]
    files = importlib.import_module(f"{_ROOT}.config.kube_config")
    incluster = importlib.import_module(f"{_ROOT}.config.incluster_config")
    errors = importlib.import_module(f"{_ROOT}.config.config_exception")
    # Its debug line prints whole response bodies, Secrets among them.
    importlib.import_module(f"{_ROOT}.client.rest").logger.disabled = True
    return (
        client.ApiClient,
        client.Configuration,
        files.load_kube_config,
        incluster.load_incluster_config,
        errors.ConfigException,
    )


ApiClient, Configuration, load_kube_config, load_incluster_config, ConfigException = _load()
