"""What users of the package rely on, compared with the files beside the tests."""
