"""An Active Directory domain for rehearsals: a controller, two file servers and a DFS namespace."""
