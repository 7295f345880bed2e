"""Coverage-guided fuzzing of what strangers send: ``make fuzz`` runs each target and fails on a finding."""
