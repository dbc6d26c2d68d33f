"""A site of real commanders with real etcd, and nothing else of Kubernetes: cheap enough to be formed a hundred times.

Real: enrolment at a real endpoint, siblings' mutual TLS, election, formation, the whole `kubeadm` distribution with
its markers, plans and steps, and etcd. Played: the program `kubeadm` (kubeadm.py), which does to etcd what kubeadm
does; the kubelet (guest.py), which runs etcd by its manifest; the API (api.py): objects in etcd, compared and set.
"""
