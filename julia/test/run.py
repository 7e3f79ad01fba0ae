"""Run the core's own tests on whatever Julia the package starts; exits with 1 and Julia's message where one fails."""

import sys
from pathlib import Path

from ssnn_py.engine import boot
from ssnn_py.errors import JuliaError

tests = Path(__file__).with_name("runtests.jl")
try:
    julia = boot.runtime()
    julia.eval(f'include(raw"{tests}")')
except JuliaError as error:
    print(error, file=sys.stderr)
    sys.exit(1)
print(f"the core's own tests passed on Julia {julia.version}, {julia.how}")
