"""k3s as an implementation of the `Distribution` port."""
