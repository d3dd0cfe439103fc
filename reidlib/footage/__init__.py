"""From videos to crops: frames with their times, boxes, which of them make a crop, a tracker where there is none."""
