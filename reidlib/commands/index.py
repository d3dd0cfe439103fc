"""Pictures into a gallery, and out of it: ``reidlib index crops/``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reidlib.commands.parsing import add_model, command_parser, on_bad_picture, open_model

if TYPE_CHECKING:
    import pandas as pd

HELP = "put pictures into a gallery, or take them out"
EXAMPLE = r"""reidlib index crops/                         # crops/<camera>/<tracklet>/….jpg, or any folder of pictures
reidlib index crops/ --names '(?P<camera>cam\d+)_(?P<time>\d+)'
reidlib index crops/ --rows crops.csv        # path, and any of camera, time, tracklet, identity
reidlib index --remove crops/entrance"""


def main(arguments: Sequence[str]) -> None:
    """Add pictures to a gallery, made where there is none; or remove some; or build its index."""
    parser = command_parser("index", f"{HELP}; those that it has are left as they are.", EXAMPLE)
    parser.add_argument("pictures", nargs="*", type=Path, help="pictures, and folders of them")
    parser.add_argument("--gallery", type=Path, default=Path("gallery"), help="its folder; gallery")
    told = parser.add_mutually_exclusive_group()
    told.add_argument("--names", metavar="PATTERN", help="camera, time, … by the paths: a regular expression's groups")
    told.add_argument("--rows", type=Path, metavar="CSV", help="camera, time, … by a table")
    told.add_argument("--remove", action="store_true", help="take these pictures, or all in these folders, out")
    kinds = ["auto", "exact", "hnsw", "ivf"]
    parser.add_argument("--index", choices=kinds, default="auto", help="auto: exact up to 100,000 rows, then hnsw")
    parser.add_argument("--to", metavar="lance://PLACE/NAME", help="write its rows to a table of LanceDB, too, in a "
                        "folder or on an object store, such as lance://s3://bucket/galleries/people")  # fmt: skip
    add_model(parser, default=None)
    chosen = parser.parse_args(arguments)

    from reidlib.gallery.changes import add_pictures
    from reidlib.gallery.gallery import Gallery
    from reidlib.gallery.pictures import files_of

    if not chosen.pictures and chosen.index == "auto" and not chosen.to:
        parser.error("expected pictures or folders of them, or --index or --to for those that are there")
    if chosen.remove:
        removed = Gallery(chosen.gallery).remove(chosen.pictures)
        print(f"removed {removed:,} pictures from {chosen.gallery}")
    elif chosen.pictures:
        files, model = files_of(chosen.pictures), open_model(chosen.gallery, chosen)
        rows = _rows(chosen.pictures, files, names=chosen.names, csv=chosen.rows)
        how = {"on_bad_picture": on_bad_picture(chosen), "index": chosen.index}
        added = add_pictures(chosen.gallery, files, rows, model=model, **how)
        print(
            f"added {added.added:,} pictures to {chosen.gallery}"
            + f", {added.already:,} were there" * (added.already > 0)
        )
    elif chosen.index != "auto":
        Gallery(chosen.gallery).build_index(chosen.index)
    gallery = Gallery(chosen.gallery)
    facts = gallery.manifest.index
    how_searched = "searched exactly" if facts is None else f"index {facts.kind}, measured recall {facts.recall:.3f}"
    print(f"{chosen.gallery}: {len(gallery):,} pictures by the model {gallery.manifest.model}; {how_searched}")
    if chosen.to:
        from reidlib.gallery.lance import write_lance

        print(f"wrote {chosen.to}: {len(write_lance(gallery, chosen.to)):,} rows")


def _rows(places: Sequence[Path], files: Sequence[Path], *, names: str | None, csv: Path | None) -> "pd.DataFrame":
    """Return what is known of each picture."""
    import pandas as pd

    from reidlib.gallery.pictures import picture_files
    from reidlib.gallery.rows import rows_by_csv, rows_by_folders, rows_by_names

    if names is not None:
        return rows_by_names(files, names)
    if csv is not None:
        return rows_by_csv(files, csv)
    tables = [rows_by_folders(picture_files(place), place) for place in places]
    return pd.concat(tables, ignore_index=True).drop_duplicates("path", ignore_index=True)
