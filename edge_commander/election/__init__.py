"""Who may run `cluster-init`, once per site and epoch: granted by the endpoint, or decided by the voters (Paxos)."""
