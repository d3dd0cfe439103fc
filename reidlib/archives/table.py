"""From what a reader found to one table of all images, whose order tells nothing; and whether it can be measured."""

import warnings
from collections.abc import Sequence

import pandas as pd

from reidlib.archives.archive import Contents, Entry, Listing
from reidlib.files import listed
from reidlib.images.split import SPLITS, image_id

UNKNOWN_CAMERA = "unknown"


def image_table(listing: Listing, contents: Sequence[Contents]) -> pd.DataFrame:
    """Return what is known of each image (identity -1: unknown) with its id and its row in its split, in this order.

    Cameras that the reader does not know become one camera of their own, after the known ones. `camera_name` is what
    the reader calls a camera, or its number that counts from 1; `tracklet_name` is empty where there is no tracklet.

    Raises:
        ValueError: No training images; two images of one id; more cameras than int16 can number.
    """
    table = pd.DataFrame(list(listing.entries), columns=Entry._fields)
    files = listed([content.file for content in contents])
    if not (table["split"] == "train").any():
        raise ValueError(f"{files}: no training images among {len(table):,}; nothing to train on")
    table["identity"] = table["identity"].fillna(-1).astype("int32")
    unknown = int(table["camera"].max()) + 1
    if unknown >= 2**15 - 1:
        raise ValueError(f"{files}: {unknown:,} cameras; at most {2**15 - 2:,}")
    table["known_camera"] = table["camera"] >= 0
    table["camera"] = table["camera"].where(table["known_camera"], unknown)
    names = {number: str(number + 1) for number in range(unknown)} | {unknown: UNKNOWN_CAMERA} | dict(listing.cameras)
    table["camera_name"] = [names[number] for number in table["camera"]]
    table["tracklet_name"] = [listing.tracklets.get(number, "") for number in table["tracklet"]]
    table["image"] = [
        image_id(contents[source].raw_names[name]) for source, name in zip(table["source"], table["name"], strict=True)
    ]
    twice = table.loc[table["image"].duplicated(keep=False), "name"]
    if len(twice):
        raise ValueError(f"{files}: images of the same name (or, rarely, hash of it): {listed(twice)}; rename one")
    table["split"] = pd.Categorical(table["split"], SPLITS)
    table = table.sort_values(["split", "image"], ignore_index=True)
    table["row"] = table.groupby("split", observed=True).cumcount()
    return table


def check_matches(table: pd.DataFrame) -> None:
    """Refuse queries and a gallery that have no person in common, before anybody trains for hours to measure them.

    Where the same person is never on another camera, which is what counts as a match, there is a warning.

    Raises:
        ValueError: identities are known of both, and none is in both.
    """
    known = table[table["identity"] > 0]
    query, gallery = known[known["split"] == "query"], known[known["split"] == "gallery"]
    if query.empty or gallery.empty:
        return
    common = set(query["identity"]) & set(gallery["identity"])
    if not common:
        raise ValueError(
            f"expected people of the queries in the gallery, found none: {query['identity'].nunique():,} people in "
            f"query, {gallery['identity'].nunique():,} in gallery, nobody in both, so that nothing can be measured; "
            "mend the identities, or leave query and gallery out"
        )
    cameras = ["identity", "camera"]
    pairs = query[cameras].drop_duplicates().merge(gallery[cameras].drop_duplicates(), on="identity")
    if (pairs["camera_x"] == pairs["camera_y"]).all():
        warnings.warn(
            f"none of the {len(query):,} queries has its person in the gallery on another camera, and matches on the "
            "query's own camera do not count: nothing can be measured. Where the folders are no cameras, set "
            "dataset.camera_labels=false, and they count",
            stacklevel=3,
        )
