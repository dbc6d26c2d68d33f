"""Loads the four parts of kubernetes_asyncio that are needed, and keeps its generated models out of memory.

Importing the package the ordinary way loads 800 model classes and 60 API classes (40 MB). Placeholder packages,
registered before the first import, have the package's search path but do not run its `__init__` files. Two packages
that it names and that we never come to use (basic authentication, dates of models) are loaded when they are asked.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from agents.io import http_library

_ROOT = "kubernetes_asyncio"


def _placeholder(name: str, folder: Path | None) -> ModuleType:
    module = ModuleType(name)
    module.__path__ = [str(folder)] if folder else []
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)
    return module


def _on_use(name: str, function: str) -> ModuleType:
    """A module in place of `name`, whose one function loads the real one when it is called."""
    module = ModuleType(name)

    def call(*arguments: Any, **more: Any) -> Any:
        return getattr(importlib.import_module(name), function)(*arguments, **more)

    setattr(module, function, call)
    return module


def _stand_ins() -> dict[str, ModuleType]:
    """What kubernetes_asyncio's modules find while they are loaded, and nobody else."""
    urllib3 = ModuleType("urllib3")
    setattr(urllib3, "util", _on_use("urllib3.util", "make_headers"))  # noqa: B010 - a module has no such field
    return {"urllib3": urllib3, "dateutil.parser": _on_use("dateutil.parser", "parse")}


def _load() -> tuple[Any, Any, Any, Any, Any]:
    spec = importlib.util.find_spec(_ROOT)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"{_ROOT} is not installed")
    http_library.load()
    folder = Path(spec.submodule_search_locations[0])
    if _ROOT not in sys.modules:
        _placeholder(_ROOT, folder)
        client = _placeholder(f"{_ROOT}.client", folder / "client")
        _placeholder(f"{_ROOT}.client.models", None)
        made = {name: one for name, one in _stand_ins().items() if name not in sys.modules}
        sys.modules.update(made)
        try:
            for name, module in (("Configuration", "configuration"), ("ApiClient", "api_client")):
                setattr(client, name, getattr(importlib.import_module(f"{_ROOT}.client.{module}"), name))
        finally:
            for name in made:
                del sys.modules[name]
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
