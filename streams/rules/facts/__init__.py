"""Facts that several rules derive from a patient's windows: results, symptoms, treatments, answers."""
