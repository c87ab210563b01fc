"""Examples as cached TFRecords, and batches read back from them."""
