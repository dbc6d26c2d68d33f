"""What forms and keeps the Kubernetes cluster underneath, as one port with several implementations."""
