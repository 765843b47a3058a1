"""Whether a model that is about to be scored can be compared with a baseline at all, found out before hours of scoring."""

from __future__ import annotations

from collections.abc import Sequence

from shiftaudit.gate.comparable import other_images, require_same_protocol
from shiftaudit.images.decode import open_image
from shiftaudit.images.file import ImageFile, UnreadableImageError
from shiftaudit.records.gate import Baseline
from shiftaudit.records.report import Preprocessing
from shiftaudit.records.settings import Settings
from shiftaudit.views.protocol import resolve


def require_comparable(
    settings: Settings, preprocessing: Preprocessing, files: Sequence[ImageFile], baseline: Baseline
) -> None:
    """Compare the views and the images of an audit to come with the baseline's.

    Raises:
        NoVerdictError: the model's input makes other views, an image of the baseline is missing, or one is readable
            that the baseline does not know.
        InputError: the settings do not fit the model's input.
    """
    require_same_protocol(resolve(settings, preprocessing.size)[1], baseline.protocol)
    found = {identity: file for file in files if (identity := file.identity()) is not None}
    missing = baseline.images.keys() - found.keys()
    unknown = sorted(found.keys() - baseline.images.keys())
    # What is unknown may be unreadable, as it was for the baseline. It is looked at only where all else is there.
    if missing or any(_is_readable(found[identity], preprocessing.channels) for identity in unknown):
        raise other_images(len(missing), len(unknown), len(baseline.images))


def _is_readable(file: ImageFile, channels: int) -> bool:
    try:
        open_image(file, channels)
    except UnreadableImageError:
        return False
    return True
