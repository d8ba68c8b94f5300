"""What several rules read off a patient's windows: results, symptoms, treatments, responses."""
