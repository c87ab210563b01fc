"""Files that are written whole or not at all, on disk and in a bucket; locks."""
