"""Files and folders that a run makes: claimed by one run at a time, and there only when they are whole."""
