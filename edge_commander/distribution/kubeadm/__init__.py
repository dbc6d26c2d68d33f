"""Upstream Kubernetes by kubeadm: decisions (`settings config manifest steps facts plan membership upgrade`), adapters
(`certs etcd api machine observe`), and `cluster`, the implementation of the port."""
