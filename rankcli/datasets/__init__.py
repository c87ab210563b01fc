"""Sources of data: collections with queries and judgments."""
