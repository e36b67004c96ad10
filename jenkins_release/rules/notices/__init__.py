"""What a notification says, by mail and in a chat."""
