"""How Julia is started: the only package that knows.

Two ways, one interface. **juliacall** starts a modern Julia (1.10 or newer) that juliapkg finds or installs.
**Embedded** loads the libjulia of an older or distribution-made Julia through its C API. Either way the core's
functions are reached as plain C pointers.
"""

from .choice import EMBEDDABLE, MODERN, Surroundings, candidates, juliapkg_project, look_around
from .core import INTERFACE_VERSION, source_dir
from .juliacall_host import juliacall_defaults
from .running import JuliaRuntime
from .start import available, prepare, runtime

__all__ = [
    "EMBEDDABLE",
    "INTERFACE_VERSION",
    "MODERN",
    "JuliaRuntime",
    "Surroundings",
    "available",
    "candidates",
    "juliacall_defaults",
    "juliapkg_project",
    "look_around",
    "prepare",
    "runtime",
    "source_dir",
]
