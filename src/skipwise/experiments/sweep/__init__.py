"""`skipwise sweep`: many trainings and their evaluations, planned from one file, run side by side, and resumed."""
