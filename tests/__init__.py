"""Tests of jenkins_release."""
