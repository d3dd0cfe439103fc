"""Shapes and dtypes of every signature are checked in tests (jaxtyping with beartype), but for compiled kernels."""

import pkgutil

import jaxtyping

import reidlib

MODULES = [
    module.name
    for module in pkgutil.walk_packages(reidlib.__path__, "reidlib.")
    if not module.ispkg and not module.name.endswith("kernels") and module.name != "reidlib.params"
]

jaxtyping.install_import_hook(MODULES, "beartype.beartype")
