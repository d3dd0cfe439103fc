"""Archives, tables, packed images, augmentation and sampling."""
