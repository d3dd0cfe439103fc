"""Shapes and dtypes of every signature are checked in tests (jaxtyping with beartype), but for compiled kernels."""

import pkgutil
import sys
import types

import jaxtyping
from beartype import BeartypeConf, beartype

import reidlib

MODULES = [
    module.name
    for module in pkgutil.walk_packages(reidlib.__path__, "reidlib.")
    if not module.ispkg and not module.name.endswith("kernels")
]

checker = types.ModuleType("reidlib_typechecker")  # the hook takes the checker by its name
checker.checked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int will do for a float, as for type checkers
sys.modules[checker.__name__] = checker
jaxtyping.install_import_hook(MODULES, "reidlib_typechecker.checked")
