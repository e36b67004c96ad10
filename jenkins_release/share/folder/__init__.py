"""A folder of this machine as a share."""
