"""What this node believes of its site: operators' documents and the signed roster."""
