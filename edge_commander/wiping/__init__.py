"""From an operators' command to the armed journal, and from the journal's end to the answer. What erases is `wipe`."""
