"""From packed images to batches: which ones, where they lie, augmented and normalised; and colours as a descriptor."""
