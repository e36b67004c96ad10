"""Jobs on the controller: written, launched, followed, approved."""
