"""Templates and other files of pages, which lie beside this module; whatever is put into a page is escaped."""

from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

TEMPLATES = Environment(
    loader=PackageLoader("reidlib.report", "assets"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
    lstrip_blocks=True,
)  # fmt: skip


def asset(*names: str) -> str:
    """Return the text of files that are part of a page, one after the other."""
    folder = files("reidlib.report") / "assets"
    return "".join((folder / name).read_text(encoding="utf-8") for name in names)
