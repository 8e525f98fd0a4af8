"""Where to look: scores rank source positions, mechanisms turn scores into a reading."""
