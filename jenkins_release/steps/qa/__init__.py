"""QA: the signed verdict, its test results, and taking it back."""
