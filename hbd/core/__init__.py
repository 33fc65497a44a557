"""The detector, pure: it is told the time, the dice and what arrived, and says what to do."""
