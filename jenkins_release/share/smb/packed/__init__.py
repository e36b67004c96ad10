"""Many small files in few packets: compound requests, several at a time."""
