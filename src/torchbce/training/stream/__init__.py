"""Tables larger than memory: packed once into a cache of records, and read from it in shuffled windows."""
