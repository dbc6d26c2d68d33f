"""`galley command`: what operators order nodes to do, from the words of the command line to the nodes' answers."""
