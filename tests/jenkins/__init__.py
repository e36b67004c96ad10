"""Jenkins: the controller, job definitions, launching and following."""
