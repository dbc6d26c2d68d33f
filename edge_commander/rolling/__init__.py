"""A site goes to another version of Kubernetes one node after another, by an operator's order."""
