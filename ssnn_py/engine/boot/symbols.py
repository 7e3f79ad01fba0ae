"""Functions of one name in Julia's libraries and in another's: the other takes its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ExtensionFileLoader, ModuleSpec, PathFinder
from types import ModuleType

#: Modules with an LLVM of their own whose functions they look for in the whole process.
WITH_LLVM = frozenset({"triton._C.libtriton"})


class OwnSymbols(MetaPathFinder):
    """Has Triton look for LLVM's functions in its own library first.

    Compiled code finds libjulia's functions only where they are visible to the whole process, and then those of the
    LLVM that libjulia needs are visible, too. Triton, which PyTorch's builds for GPUs import with an optimizer, has
    another version of LLVM; loaded after Julia it would call Julia's, and end the process.
    """

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name in WITH_LLVM else None
        if spec is not None and isinstance(spec.loader, ExtensionFileLoader):
            spec.loader = _OwnSymbolsFirst(spec.loader.name, spec.loader.path)
        return spec


class _OwnSymbolsFirst(ExtensionFileLoader):
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        before = sys.getdlopenflags()
        sys.setdlopenflags(before | os.RTLD_DEEPBIND)
        try:
            return super().create_module(spec)
        finally:
            sys.setdlopenflags(before)


def keep_apart() -> None:
    """From here on; once for the process."""
    if hasattr(os, "RTLD_DEEPBIND") and not any(isinstance(finder, OwnSymbols) for finder in sys.meta_path):
        sys.meta_path.insert(0, OwnSymbols())
