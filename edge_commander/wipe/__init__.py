"""The erasing of partitions: a plan, a journal on a raw partition, and an engine that runs in early boot."""
