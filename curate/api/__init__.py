"""The public face: functions of Python that do what recipes do, on the same store."""
