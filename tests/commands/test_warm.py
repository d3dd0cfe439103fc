"""After `reidlib warm` no process compiles a kernel: they all lie in numba's cache, for one kind of arguments each."""

import subprocess
import sys

from reidlib.commands import warm
from tests.repository import ROOT

SECOND = """
import pkgutil, sys
import reidlib
from numba.core.dispatcher import Dispatcher
from reidlib.commands.warm import PARTS

for part in PARTS:
    part()
names = [m.name for m in pkgutil.walk_packages(reidlib.__path__, "reidlib.") if m.name.endswith("kernels")]
names.remove("reidlib.models.norm_kernels")  # Triton's, for a GPU
assert set(names) <= set(sys.modules), "a module of kernels that nothing here calls"
found = {
    f"{name}.{key}": value
    for name in names
    for key, value in vars(sys.modules[name]).items()
    if isinstance(value, Dispatcher) and value.py_func.__module__ == name
}
inner = {word for kernel in found.values() for word in kernel.py_func.__code__.co_names}
for name, kernel in found.items():
    assert not kernel.stats.cache_misses, f"{name} was compiled"
    assert len(kernel.signatures) <= 1, f"{name}: {kernel.signatures}"
    assert kernel.signatures or name.rpartition(".")[2] in inner, f"{name} was not called"
print(len(found), "kernels,", sum(len(kernel.stats.cache_hits) for kernel in found.values()), "from the cache")
"""


def test_a_second_process_compiles_nothing():
    for part in warm.PARTS:
        part()
    done = subprocess.run([sys.executable, "-c", SECOND], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    kernels, cached = (int(word) for word in done.stdout.split() if word.isdigit())
    assert kernels > 50 and cached > 25
