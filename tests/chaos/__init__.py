"""The chaos run: real workers, a real server and real faults for some minutes, then every row compared."""
