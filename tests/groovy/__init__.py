"""Tests of the Jenkins shared library, run under Groovy by a small harness of our own."""
